package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// top is the project's top folder.
const top = "../.."

// ourPackage is what go list says of a package of ours.
type ourPackage struct {
	ImportPath, Doc                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func ourPackages(t *testing.T) []ourPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,GoFiles,Imports,TestImports,XTestImports", "sallyport/...")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var list []ourPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p ourPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, p := range ourPackages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestDependenciesAreNamed holds that docs/dependencies.md names every module
// that a package of ours imports, and no other.
func TestDependenciesAreNamed(t *testing.T) {
	modules := requiredModules(t)
	used := map[string]bool{}
	for _, p := range ourPackages(t) {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if m := moduleOf(i, modules); m != "" {
				used[m] = true
			}
		}
	}
	if len(used) < 10 {
		t.Fatalf("only %d modules found: %v", len(used), used)
	}
	named := map[string]bool{}
	for line := range strings.Lines(read(t, "docs/dependencies.md")) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.Contains(cells[2], ".") {
			for name := range strings.SplitSeq(cells[2], ",") {
				named[strings.TrimSpace(name)] = true
			}
		}
	}
	for m := range used {
		if !named[m] {
			t.Errorf("docs/dependencies.md has no row for %s", m)
		}
	}
	for m := range named {
		if !used[m] {
			t.Errorf("docs/dependencies.md names %s, which nothing of ours imports", m)
		}
	}
}

func requiredModules(t *testing.T) (modules []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "go.mod")) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && strings.Contains(fields[0], ".") {
			modules = append(modules, fields[0])
		}
	}
	return modules
}

// moduleOf is the module that an import is of: the longest that fits.
func moduleOf(path string, modules []string) (found string) {
	for _, m := range modules {
		if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(found) {
			found = m
		}
	}
	return found
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s#]+)(#[^)\s]*)?\)`)
	page         = regexp.MustCompile(`\bdocs/[a-z0-9/-]+\.md\b`)
)

// TestLinksLead holds that relative links of the documents, and every page that
// any text of ours refers to, exist.
func TestLinksLead(t *testing.T) {
	for _, file := range ourTexts(t) {
		text := read(t, file)
		if filepath.Ext(file) == ".md" {
			for _, link := range markdownLink.FindAllStringSubmatch(text, -1) {
				if target := link[1]; !strings.Contains(target, "://") {
					exists(t, file, filepath.Join(filepath.Dir(file), target))
				}
			}
		}
		for _, name := range page.FindAllString(text, -1) {
			exists(t, file, name)
		}
	}
}

func exists(t *testing.T, from, name string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(top, name)); err != nil {
		t.Errorf("%s refers to %s, which does not exist", from, name)
	}
}

// unfitWords are what no text of ours says of a contact: it is a lead, and only
// entities are listed.
var unfitWords = regexp.MustCompile(`(?i)violation|(sanctioned|designated) (ip|address)`)

// mayHoldUnfitWords are the files that name the words in order to refuse them.
var mayHoldUnfitWords = map[string]string{
	"cmd/sallyport/docs_test.go": "this test",
	"cmd/e2e/peers_test.go":      "looks for them in real findings",
	"rules/judge_test.go":        "looks for them in titles and reasons",
	"rules/sigmarule_test.go":    "looks for them in shipped detections",
}

func TestWords(t *testing.T) {
	seen := 0
	for _, file := range ourTexts(t) {
		text := read(t, file)
		found := unfitWords.FindString(text)
		switch _, allowed := mayHoldUnfitWords[file]; {
		case allowed:
			seen++
			if found == "" {
				t.Errorf("%s no longer holds unfit words: take it off the list", file)
			}
		case found != "":
			t.Errorf("%s says %q; docs/findings.md has words that fit", file, found)
		}
	}
	if seen != len(mayHoldUnfitWords) {
		t.Errorf("%d of the %d files that may hold unfit words exist", seen, len(mayHoldUnfitWords))
	}
}

// ourTexts lists every file of ours that a person reads or is shown text from,
// below the top folder.
func ourTexts(t *testing.T) (files []string) {
	t.Helper()
	kinds := []string{".go", ".md", ".yaml", ".yml", ".html", ".service", ".sh", ".c", ".h", ".sql", ".json"}
	for _, root := range []string{"README.md", "agent", "bpf", "cmd", "collector", "deploy", "docs", "rules"} {
		err := filepath.WalkDir(filepath.Join(top, root), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata": // samples of others
				return filepath.SkipDir
			case d.Type().IsRegular() && slices.Contains(kinds, filepath.Ext(path)):
				name, err := filepath.Rel(top, path)
				files = append(files, name)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatalf("list texts: %v", err)
		}
	}
	if len(files) < 100 {
		t.Fatalf("only %d texts found", len(files))
	}
	return files
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
