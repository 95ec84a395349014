package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"sallyport/rules"
)

// syslogSettings are the settings of type "syslog".
type syslogSettings struct {
	// Address of the receiver, HOST:PORT.
	Address string `yaml:"address"`
	// Transport is "tls" (RFC 5425), "tcp" (RFC 6587) or "udp" (RFC 5426). Only
	// the first hides findings from who listens.
	Transport string `yaml:"transport"`
	// Framing on a stream is "octet-counting" or "lf".
	Framing string      `yaml:"framing"`
	TLS     tlsSettings `yaml:"tls"`
	// Facility is a number of RFC 5424 section 6.2.1; 16 is local0.
	Facility int `yaml:"facility"`
	// MaxMessage is the longest message, in bytes; what is longer is parked. The
	// receiver must take as much: rsyslog's default is 8192. 0: 65507 over UDP,
	// else 1048576.
	MaxMessage int `yaml:"max_message"`
}

// maxDatagram is the most that one UDP datagram carries over IPv4.
const maxDatagram = 65507

func readSyslogSettings(s Settings) (syslogSettings, error) {
	cfg := syslogSettings{Transport: "tls", Framing: "octet-counting", Facility: 16}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 1 << 20
		if cfg.Transport == "udp" {
			cfg.MaxMessage = maxDatagram
		}
	}
	return cfg, cfg.validate()
}

func (c syslogSettings) validate() error {
	_, _, err := net.SplitHostPort(c.Address)
	switch {
	case err != nil:
		return fmt.Errorf("settings.address is %q; give HOST:PORT", c.Address)
	case c.Transport != "tls" && c.Transport != "tcp" && c.Transport != "udp":
		return fmt.Errorf("settings.transport %q is unknown; give tls, tcp or udp", c.Transport)
	case c.Framing != "octet-counting" && c.Framing != "lf":
		return fmt.Errorf("settings.framing %q is unknown; give octet-counting or lf", c.Framing)
	case c.Facility < 0 || c.Facility > 23:
		return fmt.Errorf("settings.facility is %d; give 0 to 23", c.Facility)
	case c.MaxMessage < 480: // RFC 5424 section 6.1
		return fmt.Errorf("settings.max_message is %d; give at least 480", c.MaxMessage)
	case c.Transport == "udp" && c.MaxMessage > maxDatagram:
		return fmt.Errorf("settings.max_message is %d; a datagram carries %d at most", c.MaxMessage, maxDatagram)
	}
	return c.TLS.validate()
}

func checkSyslog(s Settings) error {
	_, err := readSyslogSettings(s)
	return err
}

// syslog sends one message a revision. Syslog has no acknowledgement: over a
// stream, a batch counts as sent when the receiver's kernel has all of it.
type syslog struct {
	cfg    syslogSettings
	format Format
	conn   *syslogConn // nil until it is needed, and after an error
}

func openSyslog(o opening) (Exporter, error) {
	cfg, err := readSyslogSettings(o.settings)
	if err != nil {
		return nil, err
	}
	if _, err := cfg.TLS.config(); err != nil {
		return nil, err
	}
	return &syslog{cfg: cfg, format: o.format}, nil
}

func (s *syslog) Close() error { return s.disconnect() }

func (s *syslog) disconnect() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.close()
	s.conn = nil
	return err
}

func (s *syslog) Export(ctx context.Context, items []Item) error {
	lines, refused := encode(s.format, items)
	var messages [][]byte
	for _, l := range lines {
		m := s.message(&l.item.Finding, l.text)
		if len(m) > s.cfg.MaxMessage {
			refused = append(refused, RefusedItem{l.index, fmt.Sprintf(
				"%d bytes are more than settings.max_message (%d); filter with without_evidence, or choose another format or transport", len(m), s.cfg.MaxMessage)})
			continue
		}
		messages = append(messages, s.frame(m))
	}
	if len(messages) > 0 {
		if err := s.write(ctx, messages); err != nil {
			return err
		}
	}
	if len(refused) > 0 {
		return &Refused{refused}
	}
	return nil
}

// write sends all messages or fails; a connection that failed is not used again.
func (s *syslog) write(ctx context.Context, messages [][]byte) error {
	if s.conn != nil && s.conn.gone() {
		_ = s.disconnect() // the receiver has closed it; that was no attempt
	}
	if s.conn == nil {
		conn, err := dialSyslog(ctx, s.cfg)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		s.conn = conn
	}
	if err := s.conn.send(ctx, messages); err != nil {
		return errors.Join(fmt.Errorf("send messages: %w", err), s.disconnect())
	}
	return nil
}

// frame makes a message one unit of the transport, RFC 6587 section 3.4. The
// formats hold no newline.
func (s *syslog) frame(m []byte) []byte {
	switch {
	case s.cfg.Transport == "udp":
		return m
	case s.cfg.Framing == "lf":
		return append(m, '\n')
	}
	return append([]byte(strconv.Itoa(len(m))+" "), m...)
}

// message is RFC 5424 section 6. It has no structured data, which wants an
// enterprise number of our own, and no byte order mark, which CEF and LEEF
// parsers trip over (MSG-ANY allows that).
func (s *syslog) message(f *rules.Finding, text []byte) []byte {
	host := f.Observation.Host
	if host == "" {
		host = f.Agent.Name
	}
	m := fmt.Appendf(nil, "<%d>1 %s %s sallyport - finding - ", s.cfg.Facility*8+levelOf(f.Severity).syslog, stamp(f.Created), syslogName(host, 255))
	return append(m, text...)
}

// syslogName keeps what a header field may hold: printable ASCII without spaces.
func syslogName(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), limit)]
}
