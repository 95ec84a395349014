package stream

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// maxPayload bounds one entry in the embedded server, in bytes.
const maxPayload = 8 << 20

// startTimeout bounds the embedded server's recovery of its files.
const startTimeout = 2 * time.Minute

// startServer starts a server that only this process can reach. Each entry is
// synced before it is acknowledged: the default interval is two minutes.
func startServer(folder string, maxBytes int64, logger hclog.Logger) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:         "sallyport",
		DontListen:         true,
		JetStream:          true,
		StoreDir:           folder,
		SyncAlways:         true,
		JetStreamMaxStore:  maxBytes + maxBytes/4, // room for consumers beside the stream
		JetStreamMaxMemory: 64 << 20,
		MaxPayload:         maxPayload,
		NoSigs:             true,
	})
	if err != nil {
		return nil, fmt.Errorf("make stream server: %w", err)
	}
	srv.SetLoggerV2(serverLog{logger}, false, false, false)
	go srv.Start() // returns at once without a listener, or when the server ends
	if !srv.ReadyForConnections(startTimeout) {
		srv.Shutdown()
		return nil, errors.New("start stream server: not ready in time")
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("start stream server: its files in %s cannot be used; is the disk full?", folder)
	}
	return srv, nil
}

// free is how many bytes an unprivileged process may still write.
func free(folder string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, fmt.Errorf("stat file system of %s: %w", filepath.Clean(folder), err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// serverLog hands the embedded server's messages to our log.
type serverLog struct{ hclog.Logger }

func (l serverLog) Noticef(format string, v ...any) { l.say(hclog.Debug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.say(hclog.Warn, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.say(hclog.Error, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.say(hclog.Error, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.say(hclog.Trace, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.say(hclog.Trace, format, v) }

func (l serverLog) say(level hclog.Level, format string, v []any) {
	l.Log(level, "stream server", "detail", fmt.Sprintf(format, v...))
}
