// Package flowlog writes one JSON object for every flow that has ended: the
// summary of everything the agent saw, findings or none. It is a convenience
// beside the history, off by default, and loses at most what was written since
// the last flush when the machine stops.
package flowlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"sallyport/rules"
)

// Config is where the flow log goes.
type Config struct {
	Path     string `yaml:"path"`      // empty: no flow log
	MaxBytes int64  `yaml:"max_bytes"` // of one file; the one before is kept as PATH.1
}

// DefaultConfig writes none.
func DefaultConfig() Config { return Config{MaxBytes: 256 << 20} }

// Validate names the setting that cannot work, and what would.
func (c Config) Validate() error {
	if c.MaxBytes < 1<<20 {
		return fmt.Errorf("flow_log.max_bytes is %d: set it to at least %d", c.MaxBytes, 1<<20)
	}
	return nil
}

// Log is an open flow log. A nil Log takes everything and writes nothing.
type Log struct {
	cfg Config

	mu      sync.Mutex
	file    *os.File
	buffer  *bufio.Writer // nil: the file could not be opened
	size    int64
	waiting uint64 // lines in buffer
	dropped uint64
}

// Open opens the log for appending; nil without a path.
func Open(cfg Config) (*Log, error) {
	if cfg.Path == "" {
		return nil, nil
	}
	l := &Log{cfg: cfg}
	return l, l.open()
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.cfg.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open flow log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("read size of flow log: %w", err), f.Close())
	}
	l.file, l.size = f, st.Size()
	l.buffer = bufio.NewWriterSize(f, 64<<10)
	return nil
}

// Write adds one flow. What cannot be written is counted by Dropped.
func (l *Log) Write(o *rules.Observation) {
	if l == nil {
		return
	}
	line, err := json.Marshal(o)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.ready(int64(len(line))) != nil {
		l.dropped++
		return
	}
	before := l.buffer.Buffered()
	n, err := l.buffer.Write(append(line, '\n'))
	if l.buffer.Buffered() < before+n { // what was there has left
		l.waiting = 0
	}
	l.waiting++
	l.size += int64(n)
	if err != nil {
		l.discard()
	}
}

// ready sees that a file is open and has room for n bytes. One that could not be
// opened is tried again with every flow.
func (l *Log) ready(n int64) error {
	if l.buffer == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size+n <= l.cfg.MaxBytes {
		return nil
	}
	return l.rotate()
}

func (l *Log) rotate() error {
	err := errors.Join(l.flush(), l.file.Close(), os.Rename(l.cfg.Path, l.cfg.Path+".1"))
	l.buffer = nil
	return errors.Join(err, l.open())
}

// flush writes out what waits; what cannot be written is counted.
func (l *Log) flush() error {
	err := l.buffer.Flush()
	if err != nil {
		l.discard()
	}
	l.waiting = 0
	return err
}

// discard gives up what waits: an error of the writer stays until then.
func (l *Log) discard() {
	l.dropped += l.waiting
	l.waiting = 0
	l.buffer.Reset(l.file)
}

// Flush writes out what waits in memory.
func (l *Log) Flush() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buffer == nil {
		return nil
	}
	return l.flush()
}

// Dropped is how many flows could not be written.
func (l *Log) Dropped() uint64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close writes out and closes.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buffer == nil {
		return nil
	}
	err := l.flush()
	l.buffer = nil
	return errors.Join(err, l.file.Close())
}
