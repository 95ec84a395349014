package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sallyport/rules"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestFormatsAreAsTheyWere holds every format to its golden file: receivers have
// content that is keyed on it.
func TestFormatsAreAsTheyWere(t *testing.T) {
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			var got []byte
			for _, item := range items(t) {
				var err error
				if got, err = f.Append(got, &item); err != nil {
					t.Fatal(err)
				}
				got = append(got, '\n')
			}
			path := filepath.Join("testdata", f.name+".golden")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("differs from %s (write it anew with -update):\n%s", path, diff)
			}
		})
	}
}

// TestFormatsHoldOneLine is what every transport that splits at newlines relies on.
func TestFormatsHoldOneLine(t *testing.T) {
	for _, f := range formats {
		for _, item := range items(t) {
			got, err := f.Append([]byte("before"), &item)
			if err != nil {
				t.Fatal(err)
			}
			text, ok := bytes.CutPrefix(got, []byte("before"))
			if !ok || len(text) == 0 || !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool {
				return r < ' ' || r == 0x7f || r == '\u202e' && f.ContentType() != "application/json"
			}) {
				t.Errorf("%s of %s is not one line of clean text: %q", f.name, item.Finding.ID, text)
			}
			if f.ContentType() == "application/json" && !json.Valid(text) {
				t.Errorf("%s of %s is not JSON", f.name, item.Finding.ID)
			}
		}
	}
}

// TestFormatsKeepIDAndRevision is how a receiver tells a repeat and an update.
func TestFormatsKeepIDAndRevision(t *testing.T) {
	for _, f := range formats {
		item := itemOf(t, desktop())
		got, err := f.Append(nil, &item)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got), item.Finding.ID) || !strings.Contains(string(got), "7") {
			t.Errorf("%s: no id or revision in %s", f.name, got)
		}
	}
}

func TestCEFEscapes(t *testing.T) {
	tests := []struct{ name, in, header, value string }{
		{"pipe", "a|b", `a\|b`, "a|b"},
		{"backslash", `a\b`, `a\\b`, `a\\b`},
		{"equals", "a=b", "a=b", `a\=b`},
		{"newline", "a\r\nb", "a  b", `a\r\nb`},
		{"trailing space", "a ", "a", "a"},
		{"escape and reordering", "a\x1b\u202eb", "a  b", "a  b"},
		{"not UTF-8", "a\xffb", "a\ufffdb", "a\ufffdb"},
		{"UTF-8", "höst", "höst", "höst"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := cefHeader(tt.in); got != tt.header {
				t.Errorf("header %q, want %q", got, tt.header)
			}
			if got := cefValue(tt.in); got != tt.value {
				t.Errorf("value %q, want %q", got, tt.value)
			}
		})
	}
}

// parseCEF reads a line as a strict parser does.
func parseCEF(t *testing.T, line string) (header []string, extension map[string]string) {
	t.Helper()
	field := strings.Builder{}
	rest := line
	for len(header) < 7 {
		i := strings.IndexAny(rest, `|\`)
		if i < 0 {
			t.Fatalf("%d pipes: %q", len(header), line)
		}
		field.WriteString(rest[:i])
		if rest[i] == '\\' {
			if next := rest[i+1]; next != '|' && next != '\\' {
				t.Fatalf("header escape \\%c", next)
			}
			field.WriteByte(rest[i+1])
			rest = rest[i+2:]
			continue
		}
		header, rest = append(header, field.String()), rest[i+1:]
		field.Reset()
	}
	extension = map[string]string{}
	key := ""
	for _, word := range strings.Split(rest, " ") {
		i := 0
		for i < len(word) && word[i] != '=' {
			if word[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(word) || word[:i] == "" || strings.ContainsAny(word[:i], `\|`) {
			extension[key] += " " + word
			continue
		}
		key = word[:i]
		if _, twice := extension[key]; twice {
			t.Fatalf("key %s twice in %q", key, line)
		}
		extension[key] = word[i+1:]
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\=`, `=`, `\n`, "\n", `\r`, "\r")
	for k, v := range extension {
		if strings.HasSuffix(v, " ") || v == "" {
			t.Errorf("%s=%q is empty or ends with a space", k, v)
		}
		extension[k] = unescape.Replace(v)
	}
	return header, extension
}

func TestCEFIsParsedBack(t *testing.T) {
	for _, version := range []int{0, 1} {
		for _, item := range items(t) {
			line, err := cefFormat{version}.Append(nil, &item)
			if err != nil {
				t.Fatal(err)
			}
			header, x := parseCEF(t, string(line))
			want := []string{"CEF:" + string(rune('0'+version)), "Sallyport", "Sallyport", "1.0.0", item.Finding.Rule.ID}
			if diff := cmp.Diff(want, header[:5]); diff != "" {
				t.Error(diff)
			}
			if x["externalId"] != item.Finding.ID || x["rt"] != epoch(milliseconds(item.Finding.Created)) {
				t.Errorf("externalId %q, rt %q", x["externalId"], x["rt"])
			}
			for k := range x {
				if label, ok := strings.CutSuffix(k, "Label"); ok && x[label] == "" || !ok && strings.HasPrefix(k, "cs") && x[k+"Label"] == "" {
					t.Errorf("%s stands alone", k)
				}
			}
			for _, k := range []string{"src", "dst"} {
				if a, err := netip.ParseAddr(x[k]); x[k] != "" && (err != nil || version == 0 && a.Is6()) {
					t.Errorf("version %d: %s=%s", version, k, x[k])
				}
			}
		}
	}
}

func TestCEFPutsIPv6WhereItsVersionHasRoom(t *testing.T) {
	item := itemOf(t, desktop())
	for version, want := range map[int]map[string]string{
		0: {"c6a2": "2001:db8::bad", "c6a2Label": "Source IPv6 Address", "c6a3": "2001:db8:18::1", "src": "", "dst": ""},
		1: {"src": "2001:db8::bad", "dst": "2001:db8:18::1", "c6a2": ""},
	} {
		line, err := cefFormat{version}.Append(nil, &item)
		if err != nil {
			t.Fatal(err)
		}
		_, x := parseCEF(t, string(line))
		for k, v := range want {
			if x[k] != v {
				t.Errorf("version %d: %s=%q, want %q", version, k, x[k], v)
			}
		}
		if x["dproc"] == "" || x["deviceDirection"] != "0" || x["sproc"] != "" {
			t.Errorf("the owner of an inbound flow is the destination's: %v", x)
		}
	}
}

func TestCutShowsItself(t *testing.T) {
	long := strings.Repeat("é", 2000)
	got := cut(long, cefLong)
	if n := utf8.RuneCountInString(got); n != cefLong || !strings.HasSuffix(got, cutMark) || !utf8.ValidString(got) {
		t.Errorf("%d characters, ends %q", n, got[len(got)-8:])
	}
	if cut("short", cefLong) != "short" {
		t.Error("a short value was cut")
	}
}

func TestLEEFIsParsedBack(t *testing.T) {
	for _, item := range items(t) {
		line, err := leefFormat{}.Append(nil, &item)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(string(line), "|", 7)
		if len(parts) != 7 || parts[0] != "LEEF:2.0" || parts[4] != item.Finding.Rule.ID || parts[5] != "^" {
			t.Fatalf("header %q", parts)
		}
		got := map[string]string{}
		for _, pair := range strings.Split(parts[6], "^") {
			k, v, ok := strings.Cut(pair, "=")
			if !ok || v == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
				t.Errorf("pair %q", pair)
			}
			if _, twice := got[k]; twice {
				t.Errorf("key %s twice", k)
			}
			got[k] = v
		}
		if got["cat"] != "finding" || got["findingId"] != item.Finding.ID || got["devTime"] != epoch(milliseconds(item.Finding.Created)) {
			t.Errorf("attributes %v", got)
		}
	}
}

func TestCSVIsSafeInASpreadsheet(t *testing.T) {
	for _, item := range items(t) {
		line, err := csvFormat{}.Append(nil, &item)
		if err != nil {
			t.Fatal(err)
		}
		row, err := csv.NewReader(bytes.NewReader(line)).Read()
		if err != nil || len(row) != len(csvColumns) {
			t.Fatalf("%d cells, error %v", len(row), err)
		}
		for i, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("%s is a formula: %q", csvColumns[i].name, cell)
			}
		}
	}
	if got := csvCell(" =1+1"); got != "'=1+1" {
		t.Errorf("cell %q", got)
	}
}

// FuzzText holds what every text format needs of hostile values.
func FuzzText(f *testing.F) {
	f.Add(hostile)
	f.Add(strings.Repeat("=\\|^", 3000))
	f.Fuzz(func(t *testing.T, s string) {
		x := desktop()
		x.Title, x.Rule.Title, x.Rule.ID = s, s, s
		x.Observation.Owner.Process = &rules.Process{Name: s, Args: []string{s}, Executable: s, User: s}
		x.Observation.Names = []rules.Name{{Name: s}}
		item := Item{Finding: x, Raw: []byte(`{}`)}
		for _, format := range formats {
			got, err := format.Append(nil, &item)
			if err != nil {
				t.Fatal(err)
			}
			if !utf8.Valid(got) || bytes.ContainsAny(got, "\n\r\x00") {
				t.Errorf("%s: %q", format.name, got)
			}
		}
		line, _ := cefFormat{}.Append(nil, &item)
		parseCEF(t, string(line))
	})
}
