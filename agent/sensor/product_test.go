package sensor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProductOfAFile(t *testing.T) {
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("... OpenVPN ... tls-crypt-v2 ... push-peer-info ..."), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "openvpn", fifo: "", filepath.Join(dir, "none"): "", dir: ""} {
		got := make(chan recognised, 1)
		go func() { got <- examine(path) }()
		select {
		case v := <-got:
			if v.product != want {
				t.Errorf("%s: %q, want %q", path, v.product, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the look blocks", path)
		}
	}
}
