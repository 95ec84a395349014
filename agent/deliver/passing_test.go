package deliver

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// signal tells of every line that holds what it waits for.
type signal struct {
	words []byte
	seen  chan struct{}
}

func (s signal) Write(line []byte) (int, error) {
	if bytes.Contains(line, s.words) {
		select {
		case s.seen <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// TestNoDescriptorLeftCostsNothing takes the process's descriptors away while
// the spool is read: the findings wait, and none is given up.
func TestNoDescriptorLeftCostsNothing(t *testing.T) {
	told := signal{[]byte("spool cannot be read now"), make(chan struct{}, 1)}
	s, err := Open(testConfig(t), hclog.New(&hclog.LoggerOptions{Output: told}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	appendN(t, s, 0, 3)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	restore := func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }
	t.Cleanup(restore)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	type answer struct {
		batch
		error
	}
	read := make(chan answer, 1)
	go func() {
		b, err := (&reader{spool: s, name: "stdout"}).next(ctx, 10, batchBytes)
		read <- answer{b, err}
	}()
	select {
	case <-told.seen:
	case a := <-read:
		t.Fatalf("read %d findings without a descriptor, %v", len(a.envelopes), a.error)
	case <-ctx.Done():
		t.Fatal("the spool does not say that it cannot be read")
	}
	restore()
	a := <-read
	if a.error != nil || len(a.envelopes) != 3 {
		t.Errorf("%d findings, %v; want 3", len(a.envelopes), a.error)
	}
	if got := events(s); len(got) > 0 {
		t.Errorf("reported %v", got)
	}
}
