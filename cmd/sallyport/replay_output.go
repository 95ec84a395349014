package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sallyport/agent/flow"
	"sallyport/agent/protocol"
	"sallyport/rules"
)

// flowLine is one line of replay --flows. The opener is the source.
type flowLine struct {
	Capture   string          `json:"capture"`
	Transport rules.Transport `json:"transport"`
	Src       string          `json:"src"`
	SPort     uint16          `json:"sport"`
	Dst       string          `json:"dst"`
	DPort     uint16          `json:"dport"`
	Label     string          `json:"label"`
	State     string          `json:"state,omitempty"`
	Product   string          `json:"product,omitempty"`
	Evidence  string          `json:"evidence,omitempty"`
	Tunnel    string          `json:"tunnel,omitempty"`
}

// flowPrinter prints every flow when it closes.
type flowPrinter struct {
	capture string
	out     *bufio.Writer
	json    *json.Encoder
	err     error
}

func newFlowPrinter(name string, w io.Writer) *flowPrinter {
	out := bufio.NewWriterSize(w, 1<<16)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &flowPrinter{capture: name, out: out, json: encoder}
}

// Flow implements flow.Sink.
func (p *flowPrinter) Flow(f *flow.Flow, event flow.Event) {
	if event != flow.Closed || p.err != nil {
		return
	}
	line := flowLine{
		Capture: p.capture, Transport: flow.TransportName(f.Transport),
		Src: f.Client.Addr().String(), SPort: f.Client.Port(),
		Dst: f.Server.Addr().String(), DPort: f.Server.Port(),
		Label: protocol.Category(f.Result.Label), Tunnel: f.Tunnel,
	}
	if line.Label != "none" {
		line.State, line.Product, line.Evidence = flow.StateName(f.Result.State), f.Result.Product, f.Result.Evidence
	}
	p.err = p.json.Encode(&line)
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
