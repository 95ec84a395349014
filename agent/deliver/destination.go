package deliver

import (
	"context"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

// destination takes findings in order. Send returns a receipt when it has them
// for good; until then the spool keeps them.
type destination interface {
	Send(ctx context.Context, batch []rules.Envelope) (rules.Receipt, error)
	Close() error
}

// background is a destination with work of its own beside sending.
type background interface {
	Run(ctx context.Context) error
}

// kind is a sort of destination: one file each.
type kind struct {
	name     string
	validate func(Config) error
	open     func(opening) (destination, error)
}

// opening is what a destination may use.
type opening struct {
	cfg   Config
	local Local
	spool *Spool
	log   hclog.Logger
}

// Local is what delivery needs to know of its host.
type Local struct {
	Agent     string                 // the name findings go out under; with a collector, its certificate's
	Stdout    io.Writer              // of destination "stdout"
	Heartbeat func() rules.Heartbeat // asked every minute by destination "collector"
}

// kinds is every destination there is.
func kinds() []kind {
	return []kind{
		{"collector", validateCollector, openCollector},
		{"file", validateFile, openFile},
		{"stdout", validateNothing, openStdout},
		{"journald", validateNothing, openJournald},
	}
}

func kindNamed(name string) (kind, bool) {
	for _, k := range kinds() {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

func validateNothing(Config) error { return nil }

// sendError says what to do after a Send that failed. Any other error is tried
// again with backoff.
type sendError struct {
	err   error
	after time.Duration // wait at least so long; 0 unsaid
	split bool          // the batch is refused as a whole: send less, park what stays refused
	slow  bool          // nothing will change soon: wait the longest time
}

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }
