package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/testenv"
)

// The merged file of BenchmarkReplayBesideNDPI: every Ethernet frame of the
// labelled captures, in so many copies. Each copy has addresses of its own, so
// that its flows are new ones; both tools check no checksum.
const (
	benchCopies = 30
	benchRuns   = 5
)

// BenchmarkReplayBesideNDPI measures whole processes on one file, interleaved,
// and reports medians in packets a second. SALLYPORT_BENCH_COPIES and _RUNS
// change the size of the work.
func BenchmarkReplayBesideNDPI(b *testing.B) {
	captures := testenv.Shared(b, "captures", "dev")
	ndpi, err := exec.LookPath("ndpiReader")
	if err != nil {
		b.Skip("ndpiReader is not installed (Debian: libndpi-bin)")
	}
	folder := b.TempDir()
	merged := filepath.Join(folder, "merged.pcap")
	packets := mergeCaptures(b, captures, merged, setting("SALLYPORT_BENCH_COPIES", benchCopies))
	binary := filepath.Join(folder, "sallyport")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	runs := setting("SALLYPORT_BENCH_RUNS", benchRuns)
	for b.Loop() {
		var ours, theirs spent
		for range runs {
			theirs.run(b, exec.Command(ndpi, "-q", "-i", merged))
			replay := exec.Command(binary, "replay", "--flows", merged)
			replay.Env = append(os.Environ(), "GOMAXPROCS=1")
			ours.run(b, replay)
		}
		b.ReportMetric(float64(packets)/median(ours.wall), "sallyport-packets/s")
		b.ReportMetric(float64(packets)/median(theirs.wall), "ndpiReader-packets/s")
		b.ReportMetric(median(theirs.wall)/median(ours.wall), "ratio-wall")
		b.ReportMetric(median(theirs.cpu)/median(ours.cpu), "ratio-cpu")
		b.ReportMetric(float64(packets), "packets")
		b.Logf("medians of %d whole processes, wall / processor seconds: sallyport %.2f / %.2f, ndpiReader %.2f / %.2f; %s, %d CPUs",
			runs, median(ours.wall), median(ours.cpu), median(theirs.wall), median(theirs.cpu), runtime.Version(), runtime.NumCPU())
	}
}

func setting(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return usual
}

// spent is the time of whole processes, in seconds. On a shared machine wall
// time measures the neighbours too.
type spent struct{ wall, cpu []float64 }

func (s *spent) run(b *testing.B, cmd *exec.Cmd) {
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("run %s: %v", cmd.Path, err)
	}
	s.wall = append(s.wall, time.Since(began).Seconds())
	s.cpu = append(s.cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// mergeCaptures writes the frames of all captures of a folder, copies times, and
// gives their number.
func mergeCaptures(tb testing.TB, folder, target string, copies int) int {
	frames := ethernetFrames(tb, folder)
	out, err := os.Create(target)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = append(head, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	head = binary.LittleEndian.AppendUint32(head, 262144)
	head = binary.LittleEndian.AppendUint32(head, uint32(capture.LinkEthernet))
	w.Write(head)
	n := 0
	for c := range copies {
		for _, f := range frames {
			at := time.Unix(1700000000, 0).Add(time.Duration(n) * 50 * time.Microsecond)
			head = binary.LittleEndian.AppendUint32(head[:0], uint32(at.Unix()))
			head = binary.LittleEndian.AppendUint32(head, uint32(at.Nanosecond()/1000))
			head = binary.LittleEndian.AppendUint32(head, uint32(len(f.data)))
			head = binary.LittleEndian.AppendUint32(head, uint32(f.length))
			w.Write(head)
			w.Write(renumber(f.data, byte(c)))
			n++
		}
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return n
}

type benchFrame struct {
	data   []byte
	length int
}

func ethernetFrames(tb testing.TB, folder string) []benchFrame {
	files, err := captureFiles([]string{folder})
	if err != nil {
		tb.Fatal(err)
	}
	var frames []benchFrame
	for _, file := range files {
		r, err := capture.Open(file, nil)
		if err != nil {
			tb.Log(err)
			continue
		}
		var f capture.Frame
		for r.Next(&f) == nil {
			if f.Link == capture.LinkEthernet {
				frames = append(frames, benchFrame{slices.Clone(f.Data), f.Length})
			}
		}
		r.Close()
	}
	if len(frames) == 0 {
		tb.Fatal(fmt.Errorf("no Ethernet frame in %s", folder))
	}
	return frames
}

// renumber changes the second byte of both addresses of a plain IPv4 frame, in
// place: undone by the next copy's number.
func renumber(frame []byte, copyNumber byte) []byte {
	if len(frame) >= 34 && frame[12] == 8 && frame[13] == 0 {
		frame[27] += min(copyNumber, 1)
		frame[31] += min(copyNumber, 1)
	}
	return frame
}
