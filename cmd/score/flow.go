package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

const none = "none"

// row is a line of labels or of predictions.
type row struct {
	Capture        string   `json:"capture"`
	Proto          *scalar  `json:"proto"`
	Transport      *scalar  `json:"transport"` // in place of proto
	Src            string   `json:"src"`
	SrcPort        *scalar  `json:"sport"`
	Dst            string   `json:"dst"`
	DstPort        *scalar  `json:"dport"`
	Label          string   `json:"label"` // null reads as ""
	State          string   `json:"state"` // of our predictions: suspected or confirmed
	Also           []string `json:"also"`  // further right answers
	Ambiguous      bool     `json:"ambiguous"`
	PayloadPackets *int     `json:"payload_packets"`
}

// scalar is a JSON string or number, as text.
type scalar string

func (s *scalar) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(s))
	}
	*s = scalar(b)
	return nil
}

// flow identifies a flow in a capture whichever way it is seen.
type flow struct {
	capture string
	proto   int
	a, b    end
}

type end struct {
	addr string
	port int
}

func (e end) less(f end) bool {
	return e.addr < f.addr || e.addr == f.addr && e.port < f.port
}

var transports = map[string]int{"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "l2tp": 115, "sctp": 132}

func (r *row) flow() (flow, error) {
	proto := r.Proto
	if proto == nil {
		proto = r.Transport
	}
	if proto == nil {
		return flow{}, fmt.Errorf("no proto")
	}
	number, ok := transports[strings.ToLower(string(*proto))]
	if !ok {
		var err error
		if number, err = strconv.Atoi(string(*proto)); err != nil {
			return flow{}, fmt.Errorf("read proto: %w", err)
		}
	}
	f := flow{capture: r.Capture, proto: number, a: end{addr: canonical(r.Src)}, b: end{addr: canonical(r.Dst)}}
	if number == 6 || number == 17 || number == 132 { // only these have ports
		var err error
		if f.a.port, err = port(r.SrcPort); err != nil {
			return flow{}, err
		}
		if f.b.port, err = port(r.DstPort); err != nil {
			return flow{}, err
		}
	}
	if f.b.less(f.a) {
		f.a, f.b = f.b, f.a
	}
	return f, nil
}

// canonical writes an address in one way, an IPv4-mapped one as IPv4.
func canonical(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return a.Unmap().String()
}

func port(s *scalar) (int, error) {
	if s == nil || *s == "" || *s == "null" {
		return 0, nil
	}
	n, err := strconv.Atoi(string(*s))
	if err != nil {
		return 0, fmt.Errorf("read port: %w", err)
	}
	return n, nil
}

// labelled is a true flow.
type labelled struct {
	flow      flow
	label     string
	also      []string
	ambiguous bool
	payload   bool // it has packets with payload
}

// truth is the labelled flows in the order of the file.
type truth struct {
	flows []labelled
	place map[flow]int
}

func readTruth(file string) (*truth, error) {
	t := &truth{place: map[flow]int{}}
	err := eachRow(file, func(r *row, f flow) {
		l := labelled{flow: f, label: r.Label, also: r.Also, ambiguous: r.Ambiguous, payload: r.PayloadPackets == nil || *r.PayloadPackets > 0}
		if at, ok := t.place[f]; ok {
			t.flows[at] = l // the last line about a flow counts
			return
		}
		t.place[f] = len(t.flows)
		t.flows = append(t.flows, l)
	})
	return t, err
}

// prediction is one answer of a tool.
type prediction struct {
	flow  flow
	label string
	state string
}

func readPredictions(file string) (list []prediction, err error) {
	err = eachRow(file, func(r *row, f flow) {
		if r.Label == "" {
			r.Label = none
		}
		list = append(list, prediction{f, r.Label, r.State})
	})
	return list, err
}

// eachRow reads a file of JSON lines.
func eachRow(file string, use func(*row, flow)) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open rows: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("%s:%d: read row: %w", file, n, err)
		}
		id, err := r.flow()
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
		use(&r, id)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
