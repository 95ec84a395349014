package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entityFile is an entity with the addresses given.
func entityFile(id string, values ...string) string {
	text := "id: " + id + "\nname: Entity " + id + "\nkind: organisation\nsources: [{id: s, name: S, date: \"2026-11-01\"}]\nindicators:\n"
	for _, v := range values {
		text += "  - {type: ip, value: " + v + ", confidence: high, sources: [{source: s, last_seen: \"2026-11-01\"}]}\n"
	}
	return text
}

// TestShowAndCheckReadPacksAndFeeds: --pack takes a pack, a file and an imported
// feed alike.
func TestShowAndCheckReadPacksAndFeeds(t *testing.T) {
	file := write(t, "e.yaml", entityFile("packed", "5.6.7.8"))
	built := filepath.Join(t.TempDir(), "p.pack")
	if _, stderr, code := command(t, "", "rules", "pack", "build", "-o", built, "--name", "local", "--version", "1", file); code != 0 {
		t.Fatal(stderr)
	}
	list := write(t, "list.txt", "5.6.7.9\n")
	imported := filepath.Join(t.TempDir(), "feed.yaml")
	if _, stderr, code := command(t, "", "rules", "import", "list", list, "-o", imported, "--entity", "Fed", "--source", "Partner", "--date", "2020-05"); code != 0 {
		t.Fatal(stderr)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"rules", "show", "Entity packed", "--pack", built}, 0, "ip 5.6.7.8"},
		{[]string{"rules", "show", "fed", "--pack", built, "--pack", imported}, 0, "ip 5.6.7.9"},
		{[]string{"rules", "show", "fed", "--pack", built}, 1, "no entity is called"},
		{[]string{"rules", "show", "Flax Typhoon"}, 0, "integrity-technology-group"},
		{[]string{"check", "--pack", built, "5.6.7.8"}, 0, "signature not checked"},
		{[]string{"check", "--pack", built, "--pack", imported, "5.6.7.9"}, 0, "reported by Partner on 2020-05"},
		{[]string{"check", "t.me"}, 1, "strangers share"},
		{[]string{"rules", "import", "list", list, "-o", imported, "--date", "yesterday"}, 2, "2024-09-18"},
	} {
		stdout, stderr, code := command(t, "", tt.args...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%q: exit %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
}

// TestLintBetweenFiles: what shows only between files names file, line and remedy
// too.
func TestLintBetweenFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := put("a.yaml", entityFile("a", "5.6.7.8")), put("b.yaml", "# a comment\n"+entityFile("a", "5.6.7.9"))
	stdout, _, code := command(t, "", "rules", "lint", dir)
	if want := second + `:2: the id "a" is used in ` + first + ":1 too; give each entity its own"; code != 1 || !strings.Contains(stdout, want) {
		t.Errorf("exit %d, want %q in\n%s", code, want, stdout)
	}
	put("b.yaml", "id: b\nname: B\nkind: organisation\nsources: [{id: s, name: S}]\nowners: [{entity: c, percent: 60, sources: [s]}]\n")
	stdout, _, code = command(t, "", "rules", "lint", dir)
	if want := second + `:1: entity "b" names the owner "c", which no file defines; add its file, or give the owner by name`; code != 1 || !strings.Contains(stdout, want) {
		t.Errorf("exit %d, want %q in\n%s", code, want, stdout)
	}
	rule := put("d.yml", "title: T\nid: 11111111-5555-4555-8555-555555555555\nlogsource:\n  category: process_creation\ndetection: {s: {Image: a}, condition: s}\n")
	stdout, _, _ = command(t, "", "rules", "lint", rule)
	if want := rule + ":3: log source"; !strings.Contains(stdout, want) {
		t.Errorf("want %q in\n%s", want, stdout)
	}
}

// TestImportOfAMuchSmallerPack: refused, forced by the operator, or allowed by who
// signed it.
func TestImportOfAMuchSmallerPack(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(args ...string) {
		t.Helper()
		if stdout, stderr, code := command(t, "", args...); code != 0 {
			t.Fatalf("%q: exit %d\n%s%s", args, code, stdout, stderr)
		}
	}
	must("rules", "pack", "key", at("root"))
	must("rules", "pack", "key", at("local"))
	must("rules", "pack", "delegate", "--root", at("root.key"), "--key", at("local.pub"), "--role", "local", "--serial", "1", "--name", "local", "-o", at("chain"))
	big, small := write(t, "e.yaml", entityFile("e", "5.6.7.1", "5.6.7.2", "5.6.7.3")), write(t, "e.yaml", entityFile("e", "5.6.7.1"))
	build := func(version, file string, more ...string) string {
		t.Helper()
		out := at(version + ".pack")
		must(append([]string{"rules", "pack", "build", "-o", out, "--name", "local", "--version", version, "--key", at("local.key"), "--chain", at("chain"), file}, more...)...)
		return out
	}
	if err := os.Mkdir(at("packs"), 0o700); err != nil {
		t.Fatal(err)
	}
	imported := func(file string, more ...string) []string {
		return append([]string{"rules", "pack", "import", file, "--root", at("root.pub"), "--seen", at("seen"), "--to", at("packs")}, more...)
	}
	must(imported(build("1", big))...)
	second := build("2", small)
	if _, stderr, code := command(t, "", imported(second)...); code != 2 || !strings.Contains(stderr, "it holds 1, the last one 3") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if _, stderr, code := command(t, "", imported(second, "--force")...); code != 0 || !strings.Contains(stderr, "forced: 1 indicators take the place of 3") {
		t.Errorf("forced: exit %d, %s", code, stderr)
	}
	must(imported(build("3", big))...)
	must(imported(build("4", small, "--shrinks"))...)
}
