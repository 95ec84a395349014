package deliver

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sallyport/rules"
)

// journalSocket takes entries in journald's native protocol: datagrams of fields
// (systemd's JOURNAL_NATIVE_PROTOCOL page).
const journalSocket = "/run/systemd/journal/socket"

// journald writes each finding as a journal entry: the title as MESSAGE, the
// document as SALLYPORT_FINDING.
type journald struct{ path string }

func openJournald(opening) (destination, error) { return &journald{journalSocket}, nil }

// Send gives journald one datagram a finding. The journal has them when the
// socket took them; what journald then does is its own configuration. The socket
// is opened for each batch, since journald may have been restarted.
func (d *journald) Send(_ context.Context, batch []rules.Envelope) (rules.Receipt, error) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: d.path, Net: "unixgram"})
	if err != nil {
		return rules.Receipt{}, fmt.Errorf("open journal: %w", err)
	}
	defer conn.Close()
	for _, e := range batch {
		entry, err := journalEntry(e)
		if err == nil {
			err = sendEntry(conn, entry)
		}
		if err != nil {
			return rules.Receipt{}, fmt.Errorf("write journal: %w", err)
		}
	}
	return rules.Receipt{Accepted: len(batch)}, nil
}

// sendEntry writes the datagram, or, where it is too large for one, passes it in a
// sealed memfd, as the protocol asks.
func sendEntry(conn *net.UnixConn, entry []byte) error {
	_, err := conn.Write(entry)
	if err == nil || !errors.Is(err, unix.EMSGSIZE) && !errors.Is(err, unix.ENOBUFS) {
		return err
	}
	fd, err := unix.MemfdCreate("sallyport-finding", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "finding")
	defer f.Close()
	if _, err := f.Write(entry); err != nil {
		return err
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	// net refuses to send control data alone on a connected socket.
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(socket uintptr) bool {
		sent = unix.Sendmsg(int(socket), nil, unix.UnixRights(int(f.Fd())), nil, 0)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// journalEntry builds the fields of one entry.
func journalEntry(e rules.Envelope) ([]byte, error) {
	var f rules.Finding
	if err := json.Unmarshal(e.Finding, &f); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	field := func(name, value string) {
		if !strings.ContainsAny(value, "\n") {
			fmt.Fprintf(&b, "%s=%s\n", name, value)
			return
		}
		b.WriteString(name + "\n")
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(value)))
		b.Write(n[:])
		b.WriteString(value + "\n")
	}
	field("MESSAGE", f.Title)
	field("PRIORITY", journalPriority(f.Severity))
	field("SYSLOG_IDENTIFIER", "sallyport")
	field("SALLYPORT_ID", e.ID)
	field("SALLYPORT_SEVERITY", string(f.Severity))
	field("SALLYPORT_FINDING", string(e.Finding))
	return b.Bytes(), nil
}

// journalPriority maps to syslog's levels (RFC 5424 section 6.2.1).
func journalPriority(s rules.Severity) string {
	switch s {
	case rules.SeverityCritical:
		return "2"
	case rules.SeverityHigh:
		return "3"
	case rules.SeverityMedium:
		return "4"
	case rules.SeverityLow:
		return "5"
	}
	return "6"
}

func (d *journald) Close() error { return nil }
