package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

type rawEntry struct {
	name string
	data string
	kind byte
	size int64 // claimed; 0: that of data
}

// archive writes what an attacker would.
func archive(t testing.TB, entries ...rawEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Size: max(e.size, int64(len(e.data))), Mode: 0o644}
		if e.kind == tar.TypeSymlink {
			h.Linkname, h.Size = "/etc/passwd", 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, e.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = w.Flush() // an entry shorter than it claims cannot be closed
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func manifestOf(files string) string {
	return `{"format":1,"name":"sallyport","version":1,"created":"2026-11-01T00:00:00Z","expires":"2026-12-01T00:00:00Z","files":[` + files + `]}`
}

func TestHostileArchives(t *testing.T) {
	const none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	const sig = `{"chain":null,"sig":null}`
	one := func(path string) string { return fmt.Sprintf(`{"path":%q,"size":0,"sha256":%q}`, path, none) }
	named := func(path string) []byte {
		return archive(t, rawEntry{name: manifestName, data: manifestOf(one(path))}, rawEntry{name: signatureName, data: sig}, rawEntry{name: path})
	}
	if _, _, err := read(bytes.NewReader(named("entities/a.yaml")), anyone); err != nil {
		t.Fatalf("the harmless one is refused: %v", err)
	}
	for name, data := range map[string][]byte{
		"not zstd":          []byte("hello"),
		"empty":             nil,
		"no manifest":       archive(t),
		"wrong first":       archive(t, rawEntry{name: signatureName, data: sig}),
		"manifest link":     archive(t, rawEntry{name: manifestName, kind: tar.TypeSymlink}),
		"manifest folder":   archive(t, rawEntry{name: manifestName, kind: tar.TypeDir}),
		"not JSON":          archive(t, rawEntry{name: manifestName, data: "x"}),
		"unknown key":       archive(t, rawEntry{name: manifestName, data: strings.Replace(manifestOf(""), `"format"`, `"x":1,"format"`, 1)}, rawEntry{name: signatureName, data: sig}),
		"something behind":  archive(t, rawEntry{name: manifestName, data: manifestOf("") + "{}"}, rawEntry{name: signatureName, data: sig}),
		"no signature":      archive(t, rawEntry{name: manifestName, data: manifestOf("")}),
		"format":            archive(t, rawEntry{name: manifestName, data: strings.Replace(manifestOf(""), `:1,"name`, `:2,"name`, 1)}, rawEntry{name: signatureName, data: sig}),
		"traversal":         named("../etc/passwd"),
		"deep traversal":    named("entities/../../etc/passwd"),
		"absolute":          named("/etc/passwd"),
		"other folder":      named("bin/sh"),
		"dots":              named("entities/a..b"),
		"missing file":      archive(t, rawEntry{name: manifestName, data: manifestOf(one("entities/a.yaml"))}, rawEntry{name: signatureName, data: sig}),
		"extra file":        archive(t, rawEntry{name: manifestName, data: manifestOf("")}, rawEntry{name: signatureName, data: sig}, rawEntry{name: "entities/a.yaml"}),
		"named twice":       archive(t, rawEntry{name: manifestName, data: manifestOf(one("entities/a.yaml") + "," + one("entities/a.yaml"))}, rawEntry{name: signatureName, data: sig}, rawEntry{name: "entities/a.yaml"}, rawEntry{name: "entities/a.yaml"}),
		"changed file":      archive(t, rawEntry{name: manifestName, data: manifestOf(`{"path":"entities/a.yaml","size":1,"sha256":"` + none + `"}`)}, rawEntry{name: signatureName, data: sig}, rawEntry{name: "entities/a.yaml", data: "x"}),
		"longer file":       archive(t, rawEntry{name: manifestName, data: manifestOf(one("entities/a.yaml"))}, rawEntry{name: signatureName, data: sig}, rawEntry{name: "entities/a.yaml", data: "xx"}),
		"file as link":      archive(t, rawEntry{name: manifestName, data: manifestOf(one("entities/a.yaml"))}, rawEntry{name: signatureName, data: sig}, rawEntry{name: "entities/a.yaml", kind: tar.TypeSymlink}),
		"negative size":     archive(t, rawEntry{name: manifestName, data: manifestOf(`{"path":"entities/a.yaml","size":-1,"sha256":""}`)}, rawEntry{name: signatureName, data: sig}),
		"cut short":         named("entities/a.yaml")[:60],
		"claimed manifest":  archive(t, rawEntry{name: manifestName, data: "{", size: 1000}),
		"manifest too long": archive(t, rawEntry{name: manifestName, data: strings.Repeat(" ", maxManifest+1)}),
		"content too long":  archive(t, rawEntry{name: manifestName, data: manifestOf(fmt.Sprintf(`{"path":"entities/a.yaml","size":%d,"sha256":""}`, maxContent+1))}, rawEntry{name: signatureName, data: sig}),
	} {
		_, _, err := read(bytes.NewReader(data), anyone)
		if err == nil {
			t.Errorf("%s: read", name)
			continue
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooBig) && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: an error of no kind: %v", name, err)
		}
	}
}

// TestEveryFlippedByteIsNoticed changes a signed pack byte by byte: it must never
// open as something else.
func TestEveryFlippedByteIsNoticed(t *testing.T) {
	c := contents(1)
	c.Entities, c.ASN = c.Entities[:1], nil
	data := build(t, c, vendor(t))
	want := mustOpen(t, data, rootTrust)
	path := file(t, data)
	for i := 0; i < len(data); i += 7 {
		bad := bytes.Clone(data)
		bad[i] ^= 0x40
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Open(path, rootTrust)
		if err == nil && p.Digest != want.Digest {
			t.Fatalf("byte %d: opened as another pack", i)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(manifestOf("")), []byte(`{"chain":[],"sig":""}`), "entities/a.yaml", []byte("x"))
	f.Fuzz(func(t *testing.T, manifest, sig []byte, name string, data []byte) {
		if len(name) > 90 || strings.ContainsRune(name, 0) || name == "" || strings.HasSuffix(name, "/") {
			return
		}
		var b bytes.Buffer
		z, _ := zstd.NewWriter(&b)
		w := tar.NewWriter(z)
		for n, d := range map[string][]byte{manifestName: manifest} {
			if w.WriteHeader(&tar.Header{Name: n, Size: int64(len(d)), Mode: 0o644}) != nil {
				return
			}
			_, _ = w.Write(d)
		}
		for _, e := range []struct {
			n string
			d []byte
		}{{signatureName, sig}, {name, data}} {
			if w.WriteHeader(&tar.Header{Name: e.n, Size: int64(len(e.d)), Mode: 0o644}) != nil {
				return
			}
			_, _ = w.Write(e.d)
		}
		_ = w.Close()
		_ = z.Close()
		p, s, err := read(&b, anyone)
		if err != nil {
			return
		}
		if err := rootTrust.verify(p, s); err == nil {
			t.Fatal("an unsigned pack was trusted")
		}
		_, _ = p.Entities()
		_, _ = p.Detections(nil)
		_, _ = p.ASN()
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(archive(f, rawEntry{name: manifestName, data: manifestOf("")}, rawEntry{name: signatureName, data: `{"chain":null,"sig":null}`}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, s, err := read(bytes.NewReader(data), anyone); err == nil {
			if rootTrust.verify(p, s) == nil {
				t.Fatal("an unsigned pack was trusted")
			}
		}
	})
}

// FuzzStatements tries hostile statements in the chain of a sound signature.
func FuzzStatements(f *testing.F) {
	var out bytes.Buffer
	if err := Build(&out, contents(1), vendor(f)); err != nil {
		f.Fatal(err)
	}
	p, sig, err := read(bytes.NewReader(out.Bytes()), anyone)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(sig.Chain[0].Statement), sig.Chain[0].Sig)
	f.Fuzz(func(t *testing.T, statement, signed []byte) {
		same := bytes.Equal(statement, sig.Chain[0].Statement) && bytes.Equal(signed, sig.Chain[0].Sig)
		forged := *sig
		forged.Chain = []Signed{{Statement: statement, Sig: signed}}
		other := *p
		if err := rootTrust.verify(&other, &forged); (err == nil) != same {
			t.Fatalf("statement %q: %v", statement, err)
		}
	})
}

// FuzzKeptFiles reads what lies on disk: what packs must not fall behind, and
// statements.
func FuzzKeptFiles(f *testing.F) {
	f.Add([]byte(`{"packs":{"sallyport":{"version":3,"digest":"00"}},"serials":{"vendor":1}}`))
	f.Add([]byte(`[{"statement":"e30=","sig":"AA=="}]`))
	path := f.TempDir() + "/x"
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = ReadSeen(path)
		_, _ = ReadChain(path)
		_, _ = ReadPublicKey(path)
		_, _ = ReadPrivateKey(path)
	})
}

// TestNothingIsUnpackedForStrangers: a pack whose signature does not hold is
// refused before its files are read, however they look.
func TestNothingIsUnpackedForStrangers(t *testing.T) {
	refused := errors.New("not signed by anyone we trust")
	var out bytes.Buffer
	if err := Build(&out, contents(1), nil); err != nil {
		t.Fatal(err)
	}
	p, _, err := read(bytes.NewReader(out.Bytes()), func(p *Pack, _ *signature) error {
		if len(p.files) > 0 {
			t.Error("files were unpacked before the signature was judged")
		}
		return refused
	})
	if !errors.Is(err, refused) || p != nil {
		t.Errorf("read: %v, %v", p, err)
	}
}
