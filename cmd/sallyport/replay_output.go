package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sallyport/agent/flow"
	"sallyport/agent/protocol"
)

// flowPrinter prints every flow when it closes.
type flowPrinter struct {
	capture []byte // quoted
	out     *bufio.Writer
	line    []byte
	err     error
}

func newFlowPrinter(name string, w io.Writer) *flowPrinter {
	return &flowPrinter{capture: appendJSON(nil, name), out: bufio.NewWriterSize(w, 1<<16)}
}

// Flow implements flow.Sink. The opener is the source. A replay may print
// millions of flows, so the line is put together by hand.
func (p *flowPrinter) Flow(f *flow.Flow, event flow.Event) {
	if event != flow.Closed || p.err != nil {
		return
	}
	b := append(append(p.line[:0], `{"capture":`...), p.capture...)
	b = append(append(b, `,"transport":"`...), flow.TransportName(f.Transport)...)
	b = f.Client.Addr().AppendTo(append(b, `","src":"`...))
	b = strconv.AppendUint(append(b, `","sport":`...), uint64(f.Client.Port()), 10)
	b = f.Server.Addr().AppendTo(append(b, `,"dst":"`...))
	b = strconv.AppendUint(append(b, `","dport":`...), uint64(f.Server.Port()), 10)
	label := protocol.Category(f.Result.Label)
	b = append(append(append(b, `,"label":"`...), label...), '"')
	if label != "none" {
		b = appendField(b, "state", flow.StateName(f.Result.State))
		b = appendField(b, "product", f.Result.Product)
		b = appendField(b, "evidence", f.Result.Evidence)
	}
	p.line = append(appendField(b, "tunnel", f.Tunnel), "}\n"...)
	_, p.err = p.out.Write(p.line)
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendJSON(append(append(append(b, `,"`...), name...), `":`...), value)
}

// appendJSON appends a quoted string. Where text comes from the wire, only the
// library knows every escape.
func appendJSON(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always has a form
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// DNS implements flow.Sink.
func (*flowPrinter) DNS(*flow.Flow, bool, []byte, time.Time) {}

// Done writes out what is buffered.
func (p *flowPrinter) Done() error {
	if p.err != nil {
		return p.err
	}
	return p.out.Flush()
}

// frameCounts is what became of a capture's frames.
type frameCounts struct {
	Capture   string            `json:"capture"`
	Frames    uint64            `json:"frames"`
	Undecoded map[string]uint64 `json:"undecoded"`
}

func (n *frameCounts) print(w io.Writer, table flow.Counters) {
	line, err := json.Marshal(struct {
		*frameCounts
		Table flow.Counters `json:"table"`
	}{n, table})
	if err == nil {
		fmt.Fprintf(w, "%s\n", line)
	}
}

// captureFiles gives the files that args name; of a folder, those with a
// capture's ending, in order.
func captureFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if arg == "-" || err != nil || !info.IsDir() {
			files = append(files, arg) // opening it gives the error
			continue
		}
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && captureName(path) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read folder: %w", err)
		}
	}
	return files, nil
}

// captureName says whether a file of a folder is taken for a capture.
func captureName(path string) bool {
	for _, ending := range []string{".gz", ".zst"} {
		path = strings.TrimSuffix(path, ending)
	}
	switch filepath.Ext(path) {
	case ".pcap", ".pcapng", ".cap", ".dmp", ".ntar":
		return true
	}
	return false
}

// progress tells a person at a terminal how far a long file has come.
type progress struct {
	w     io.Writer
	last  time.Time
	shown bool
}

// newProgress shows nothing where w is no terminal.
func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{w: w, last: time.Now()}
		}
	}
	return &progress{}
}

func (p *progress) show(name string, frames uint64, offset int64) {
	if p.w == nil || time.Since(p.last) < time.Second {
		return
	}
	p.last, p.shown = time.Now(), true
	fmt.Fprintf(p.w, "\r\x1b[K%s: %d packets, %d MB", name, frames, offset>>20)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
