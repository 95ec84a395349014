package ingest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sallyport/collector/identity"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// limits of one batch.
type limits struct {
	line    int   // bytes
	lines   int   // count
	bytes   int64 // unpacked
	finding int64 // bytes the stream takes
}

var (
	errTooLarge = errors.New("larger than the collector takes")
	errBody     = errors.New("read body") // the sender's fault
)

// batch is a request's lines, checked.
type batch struct {
	entries []stream.Entry
	receipt rules.Receipt
}

// readBatch reads and checks the lines an agent sent. What is wrong with one
// line rejects that line; an error refuses the request, of which nothing is then
// kept.
func readBatch(body io.Reader, agent string, now time.Time, l limits) (batch, error) {
	limited := &io.LimitedReader{R: body, N: l.bytes + 1}
	in := bufio.NewReaderSize(limited, 64<<10)
	var b batch
	for n := 1; ; n++ {
		line, whole, err := readLine(in, l.line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return batch{}, fmt.Errorf("%w: %w", errBody, err)
		}
		if limited.N == 0 {
			return batch{}, tooLarge(fmt.Sprintf("more than %d bytes once unpacked", l.bytes))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(b.entries) == l.lines {
			return batch{}, tooLarge(fmt.Sprintf("more than %d lines", l.lines))
		}
		e, err := checkLine(line, whole, agent, l)
		if err != nil {
			return batch{}, inLine(n, err)
		}
		e.Received = now
		b.add(e)
	}
	return b, nil
}

func (b *batch) add(e stream.Entry) {
	b.entries = append(b.entries, e)
	if e.Rejected == "" {
		b.receipt.Accepted++
		return
	}
	b.receipt.Rejected = append(b.receipt.Rejected, rules.Reject{Seq: e.Seq, Reason: e.Rejected})
}

// readLine reads to the next newline. Of a line longer than limit it gives the
// beginning, and whole is false.
func readLine(in *bufio.Reader, limit int) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := in.ReadSlice('\n')
		if room := limit - len(line); len(part) > room {
			whole, part = false, part[:room]
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, whole, nil
		case err != nil:
			return nil, false, err
		}
		return line, whole, nil
	}
}

// checkLine turns a line into an entry, rejected or not. The error is of lines
// that cannot even be rejected, having no number.
func checkLine(line []byte, whole bool, agent string, l limits) (stream.Entry, error) {
	if !whole {
		return cutLine(line, agent, l.line)
	}
	var env rules.Envelope
	if err := json.Unmarshal(line, &env); err != nil {
		return stream.Entry{}, errors.New("not an envelope")
	}
	if err := checkEnvelope(env, agent); err != nil {
		return stream.Entry{}, err
	}
	e := stream.Entry{Agent: agent, Epoch: env.Epoch, Seq: env.Seq}
	if int64(len(env.Finding)) > l.finding {
		return reject(e, errTooLarge), nil
	}
	if err := checkFinding(env, agent); err != nil {
		return reject(e, err), nil
	}
	e.ID, e.Finding = env.ID, env.Finding
	return e, nil
}

// cutLine rejects a line that is too long, by the number at its beginning.
func cutLine(line []byte, agent string, limit int) (stream.Entry, error) {
	env, err := envelopeHead(line)
	if err != nil {
		return stream.Entry{}, tooLarge(fmt.Sprintf("longer than %d bytes, with no number at its beginning", limit))
	}
	if err := checkEnvelope(env, agent); err != nil {
		return stream.Entry{}, err
	}
	return reject(stream.Entry{Agent: agent, Epoch: env.Epoch, Seq: env.Seq}, errTooLarge), nil
}

// envelopeHead reads an envelope's fields up to the finding.
func envelopeHead(line []byte) (rules.Envelope, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return rules.Envelope{}, errors.New("not an object")
	}
	var env rules.Envelope
	fields := map[string]any{"agent": &env.Agent, "seq": &env.Seq, "epoch": &env.Epoch, "id": &env.ID}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return rules.Envelope{}, err
		}
		field, ok := fields[fmt.Sprint(name)]
		if !ok {
			break
		}
		if err := d.Decode(field); err != nil {
			return rules.Envelope{}, err
		}
	}
	if env.Seq == 0 {
		return rules.Envelope{}, errors.New("no number")
	}
	return env, nil
}

// checkEnvelope checks what a rejection itself needs.
func checkEnvelope(env rules.Envelope, agent string) error {
	switch {
	case env.Agent != agent:
		return identity.Refusal{Status: http.StatusForbidden, Code: rules.CodeOtherAgent, Detail: fmt.Sprintf("this certificate is of %q, the finding of %q", agent, cut(env.Agent))}
	case env.Seq == 0:
		return errors.New("seq is 0")
	case !epochs.MatchString(env.Epoch):
		return errors.New("epoch must be 1 to 64 letters, digits, or . _ : -")
	}
	return nil
}

func reject(e stream.Entry, err error) stream.Entry {
	e.Rejected = cut(err.Error())
	return e
}

// cut bounds text that came from outside.
func cut(s string) string {
	const limit = 300
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return s
}

func tooLarge(detail string) error {
	return identity.Refusal{Status: http.StatusRequestEntityTooLarge, Code: rules.CodeTooLarge, Detail: detail}
}

// inLine says where in the request it was.
func inLine(n int, err error) error {
	var refusal identity.Refusal
	if !errors.As(err, &refusal) {
		refusal = identity.Refusal{Status: http.StatusBadRequest, Code: rules.CodeBadRequest, Detail: err.Error()}
	}
	refusal.Detail = fmt.Sprintf("line %d: %s", n, refusal.Detail)
	return refusal
}
