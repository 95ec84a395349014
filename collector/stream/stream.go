package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnavailable is returned where the stream cannot take entries now: the disk
// is full, or the server does not answer. Nothing is lost; the sender waits.
var ErrUnavailable = errors.New("stream takes no entries now")

// maxInFlight bounds entries that are published and not yet acknowledged.
const maxInFlight = 8192

// Stream is the durable log. It is safe for concurrent use.
type Stream struct {
	// Missed is told, where it is set, of what is trimmed before a consumer has it.
	// An error puts the trimming off. Set it before Run.
	Missed func(context.Context, Missed) error

	cfg     Config
	folder  string
	logger  hclog.Logger
	broken  atomic.Bool   // an append failed since the server was started, or left
	moved   time.Time     // when Run last left a server of a cluster
	kick    chan struct{} // look at the server now
	trimNow chan struct{} // the stream is full

	mu     sync.RWMutex // held for reading while the connection is used
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream

	restarts atomic.Uint64
	trimmed  atomic.Uint64
	damaged  atomic.Uint64
}

// New prepares a stream whose files, when it is embedded, lie in the folder
// state/stream.
func New(cfg Config, state string, logger hclog.Logger) *Stream {
	return &Stream{cfg: cfg, folder: filepath.Join(state, "stream"), logger: logger.Named("stream"), kick: make(chan struct{}, 1), trimNow: make(chan struct{}, 1)}
}

// Open starts the embedded server or connects to the cluster.
func (s *Stream) Open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(ctx)
}

func (s *Stream) open(ctx context.Context) error {
	if err := s.connect(); err != nil {
		s.close()
		return err
	}
	js, err := jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(maxInFlight), jetstream.WithPublishAsyncTimeout(s.cfg.AppendTimeout))
	if err != nil {
		s.close()
		return fmt.Errorf("use stream: %w", err)
	}
	s.js = js
	s.stream, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:       s.cfg.Name,
		Subjects:   []string{s.subject()},
		Storage:    jetstream.FileStorage,
		Replicas:   s.cfg.Replicas,
		MaxBytes:   s.cfg.MaxBytes,
		Duplicates: s.cfg.Duplicates,
		// Old entries are trimmed by us, once the store has them; the server would
		// not look.
		Discard: jetstream.DiscardNew,
	})
	if err != nil {
		s.close()
		return fmt.Errorf("make stream %s: %w", s.cfg.Name, err)
	}
	s.broken.Store(false)
	return nil
}

func (s *Stream) subject() string { return "sallyport." + s.cfg.Name + ".findings" }

func (s *Stream) connect() error {
	if s.cfg.URL != "" {
		return s.connectCluster()
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("make stream folder: %w", err)
	}
	srv, err := startServer(s.folder, s.cfg.MaxBytes, s.logger)
	if err != nil {
		return err
	}
	s.server = srv
	if s.conn, err = nats.Connect("", nats.InProcessServer(srv), nats.MaxReconnects(-1)); err != nil {
		return fmt.Errorf("connect stream: %w", err)
	}
	return nil
}

// Of a server of a cluster: how long it may take to be reached, and how often it is
// asked whether it is there. The client's own two minutes would leave a collector
// with a server that the network has swallowed.
const (
	dialTimeout  = 3 * time.Second
	pingInterval = 5 * time.Second
)

func (s *Stream) connectCluster() error {
	options := []nats.Option{nats.Name("sallyport-collector"), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		nats.Timeout(dialTimeout), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2)}
	if s.cfg.Credentials != "" {
		options = append(options, nats.UserCredentials(s.cfg.Credentials))
	}
	if s.cfg.CA != "" {
		options = append(options, nats.RootCAs(s.cfg.CA))
	}
	if s.cfg.Certificate != "" {
		options = append(options, nats.ClientCert(s.cfg.Certificate, s.cfg.Key))
	}
	var err error
	if s.conn, err = nats.Connect(s.cfg.URL, options...); err != nil {
		return fmt.Errorf("connect stream %s: %w", s.cfg.URL, err)
	}
	return nil
}

// Close ends the connection and the embedded server, whose files are synced.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
	return nil
}

func (s *Stream) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.server = nil
	}
	s.js, s.stream = nil, nil
}

// MaxEntry bounds an entry's finding, in bytes.
func (s *Stream) MaxEntry() int64 {
	const frame = 4096 // the entry's other fields
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.conn == nil {
		return maxPayload - frame
	}
	return s.conn.MaxPayload() - frame
}

// Append returns nil when the stream has all entries, on the disk. After an
// error some may be in; sending all again is harmless.
func (s *Stream) Append(ctx context.Context, entries []Entry) error {
	if err := s.Ready(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AppendTimeout)
	defer cancel()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.js == nil {
		return ErrUnavailable
	}
	if err := s.publish(ctx, entries); err != nil {
		s.failed(ctx, err)
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (s *Stream) publish(ctx context.Context, entries []Entry) error {
	acks := make([]jetstream.PubAckFuture, 0, len(entries))
	for i := range entries {
		data, err := json.Marshal(&entries[i])
		if err != nil {
			return fmt.Errorf("encode entry: %w", err)
		}
		ack, err := s.js.PublishMsgAsync(&nats.Msg{Subject: s.subject(), Data: data},
			jetstream.WithMsgID(entries[i].MessageID()), jetstream.WithStallWait(s.cfg.AppendTimeout))
		if err != nil {
			return fmt.Errorf("append entry: %w", err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return fmt.Errorf("append entry: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("append entry: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Ready says whether the stream takes entries.
func (s *Stream) Ready() error {
	if s.cfg.URL != "" {
		return s.connected()
	}
	if s.broken.Load() {
		return fmt.Errorf("%w: it is being reopened", ErrUnavailable)
	}
	return s.room()
}

// connected says whether a server of the cluster is reached.
func (s *Stream) connected() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.conn == nil || !s.conn.IsConnected() {
		return fmt.Errorf("%w: no server of %s is reached", ErrUnavailable, s.cfg.URL)
	}
	return nil
}

// room says whether the embedded stream's file system has room.
func (s *Stream) room() error {
	n, err := free(s.folder)
	if err != nil {
		return err
	}
	if n < s.cfg.Reserve {
		return fmt.Errorf("%w: %d bytes are free below %s and stream.reserve asks for %d", ErrUnavailable, n, s.folder, s.cfg.Reserve)
	}
	return nil
}

// errorFull is JetStream's code for a stream that has reached MaxBytes; its
// client has no name for it.
const errorFull jetstream.ErrorCode = 10077

// failed has Run do at once what helps: trim a full stream, reopen a broken one,
// try another server of a cluster. A sender that hung up proves nothing.
func (s *Stream) failed(ctx context.Context, err error) {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == errorFull:
		signal(s.trimNow)
	case ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.broken.Store(true)
		signal(s.kick)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
