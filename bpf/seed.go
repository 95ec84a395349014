package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrNoIterator means that the kernel did not take the iterator over files.
var ErrNoIterator = errors.New("no iterator over files")

// Seed walks the files of all processes: sockets get their owner, and each is
// passed to handle as a record of KindSocket, each TUN file as KindTunnel. The
// slice is valid during the call only.
func (k *Kernel) Seed(handle func([]byte)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var program *attached
	for _, a := range k.hooks {
		if a.hook.program == seedProgFiles {
			program = a
		}
	}
	if k.closed || program == nil || program.program == nil {
		return ErrNoIterator
	}
	it, err := link.AttachIter(link.IterOptions{Program: program.program})
	if err != nil {
		program.err = fmt.Errorf("attach files: %w", err)
		return program.err
	}
	defer it.Close()
	files, err := it.Open()
	if err != nil {
		return fmt.Errorf("open iterator: %w", err)
	}
	defer files.Close()
	return split(bufio.NewReaderSize(files, 64<<10), handle)
}

// split cuts the iterator's stream into records by their first byte.
func split(r io.Reader, handle func([]byte)) error {
	var buf [flowSize]byte
	for {
		if _, err := io.ReadFull(r, buf[:1]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read iterator: %w", err)
		}
		size := flowSize
		if Kind(buf[0]) == KindTunnel {
			size = processSize
		}
		if _, err := io.ReadFull(r, buf[1:size]); err != nil {
			return fmt.Errorf("read iterator: %w", err)
		}
		handle(buf[:size])
	}
}

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM)
}
