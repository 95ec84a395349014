package deliver

import (
	"errors"
	"fmt"
	"time"
)

// Config is the spool and its delivery. Times are Go durations ("72h"), sizes
// are bytes.
type Config struct {
	Dir          string        `yaml:"dir"`           // of the spool; one agent at a time
	MaxBytes     int64         `yaml:"max_bytes"`     // above this the oldest findings are given up, and reported
	MaxAge       time.Duration `yaml:"max_age"`       // older findings are given up, and reported
	SegmentBytes int64         `yaml:"segment_bytes"` // a file's size; what one damaged file can cost at most
	MaxFinding   int           `yaml:"max_finding"`   // larger findings are sent without their evidence

	Destinations []string        `yaml:"destinations"` // any of: collector, file, stdout, journald
	Batch        int             `yaml:"batch"`        // findings in one request
	Collector    CollectorConfig `yaml:"collector"`
	File         FileConfig      `yaml:"file"`
}

// DefaultConfig holds half a gigabyte or thirty days, and writes to a file,
// which a single server can read without a collector.
func DefaultConfig() Config {
	return Config{
		Dir:          "/var/lib/sallyport/spool",
		MaxBytes:     512 << 20,
		MaxAge:       30 * 24 * time.Hour,
		SegmentBytes: 4 << 20,
		MaxFinding:   1 << 20,
		Destinations: []string{"file"},
		Batch:        500,
		Collector:    defaultCollector(),
		File:         defaultFile(),
	}
}

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("deliver.dir is empty: name a folder that survives a restart")
	case c.SegmentBytes < 4<<10 || c.SegmentBytes > 64<<20:
		return fmt.Errorf("deliver.segment_bytes is %d: use 4096 to 67108864", c.SegmentBytes)
	case c.MaxBytes < 4*c.SegmentBytes:
		return fmt.Errorf("deliver.max_bytes is %d: use at least four segments (%d)", c.MaxBytes, 4*c.SegmentBytes)
	case c.MaxAge < time.Minute:
		return fmt.Errorf("deliver.max_age is %s: use a minute or more", c.MaxAge)
	case c.MaxFinding < 4<<10 || c.MaxFinding > 16<<20:
		return fmt.Errorf("deliver.max_finding is %d: use 4096 to 16777216", c.MaxFinding)
	case c.Batch < 1 || c.Batch > 10_000:
		return fmt.Errorf("deliver.batch is %d: use 1 to 10000", c.Batch)
	case len(c.Destinations) == 0:
		return errors.New("deliver.destinations is empty: name at least one of collector, file, stdout, journald")
	}
	seen := map[string]bool{}
	for _, name := range c.Destinations {
		if seen[name] {
			return fmt.Errorf("deliver.destinations names %q twice", name)
		}
		seen[name] = true
		k, ok := kindNamed(name)
		if !ok {
			return fmt.Errorf("deliver.destinations: %q is unknown: use collector, file, stdout or journald", name)
		}
		if err := k.validate(c); err != nil {
			return err
		}
	}
	return nil
}
