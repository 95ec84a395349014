package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel puts before each record (Documentation/bpf/ringbuf.rst, struct
// bpf_ringbuf_hdr): its length with two flags, and a word of its own.
const (
	recordHeader = 8       // bytes; records are multiples of it
	recordBusy   = 1 << 31 // reserved, not submitted yet
	recordGiven  = 1 << 30 // given up by its program
)

// ring reads a BPF ring buffer. It maps the data once and puts together itself
// the record that goes over the end: mapped twice, as libraries do, the buffer
// counts twice as the process's memory.
type ring struct {
	poll     int     // epoll descriptor
	consumed *uint64 // positions, in bytes since the beginning
	produced *uint64
	data     []byte
	scratch  []byte

	mu     sync.Mutex // held while data is read: Close waits
	mapped [2][]byte  // nil when closed
}

// openRing maps the ring buffer fd of size bytes.
func openRing(fd, size int) (*ring, error) {
	page := os.Getpagesize()
	consumer, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map consumer's page: %w", err)
	}
	producer, err := unix.Mmap(fd, int64(page), page+size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map data: %w", err), unix.Munmap(consumer))
	}
	r := &ring{
		poll: -1, data: producer[page:], mapped: [2][]byte{consumer, producer},
		consumed: (*uint64)(unsafe.Pointer(&consumer[0])), produced: (*uint64)(unsafe.Pointer(&producer[0])),
	}
	if r.poll, err = edgesOf(fd); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// edgesOf watches fd for wakeups. Edges, not levels: a ring that has anything in
// it is always ready, so that a reader under load would be woken for each record.
func edgesOf(fd int) (int, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make epoll descriptor: %w", err)
	}
	if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}); err != nil {
		return -1, errors.Join(fmt.Errorf("watch ring buffer: %w", err), unix.Close(poll))
	}
	return poll, nil
}

// drain passes on what is there, oldest first, and says whether there was
// anything. It stops at a record that its program has not finished.
func (r *ring) drain(handle func([]byte)) (any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mapped[0] == nil {
		return false
	}
	mask := uint64(len(r.data) - 1)
	at := atomic.LoadUint64(r.consumed)
	for at < atomic.LoadUint64(r.produced) {
		length := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[at&mask])))
		if length&recordBusy != 0 {
			break
		}
		n := uint64(length &^ recordGiven)
		if length&recordGiven == 0 {
			r.scratch = r.copyOf(r.scratch[:0], (at+recordHeader)&mask, n)
		}
		at += (recordHeader + n + recordHeader - 1) &^ (recordHeader - 1)
		atomic.StoreUint64(r.consumed, at) // the kernel may write there again
		if length&recordGiven == 0 {
			handle(r.scratch)
			any = true
		}
	}
	return any
}

// copyOf appends the n bytes at from, which may go over the end.
func (r *ring) copyOf(to []byte, from, n uint64) []byte {
	end := min(from+n, uint64(len(r.data)))
	to = append(to, r.data[from:end]...)
	return append(to, r.data[:n-(end-from)]...)
}

// wait returns when the kernel wakes the reader, or after the limit.
func (r *ring) wait(limit time.Duration) error {
	var events [1]unix.EpollEvent
	if _, err := unix.EpollWait(r.poll, events[:], int(limit/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for ring buffer: %w", err)
	}
	return nil
}

// Close unmaps the ring; a drain that runs ends first.
func (r *ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mapped[0] == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(r.mapped[0]), unix.Munmap(r.mapped[1]))
	if r.poll >= 0 {
		err = errors.Join(err, unix.Close(r.poll))
	}
	r.mapped = [2][]byte{}
	return err
}
