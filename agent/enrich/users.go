package enrich

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of the user list.
const (
	usersCheck = 10 * time.Second // how often the file is looked at again
	maxUsers   = 100_000
	maxPasswd  = 16 << 20 // bytes
)

// users names users by the host's passwd file. Users that only a directory
// service knows stay numbers: asking it from here would block.
type users struct {
	path string

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	names   map[uint32]string
}

func newUsers(path string) *users { return &users{path: path} }

func (u *users) name(uid uint32) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); now.Sub(u.checked) >= usersCheck {
		u.checked = now
		u.reload()
	}
	return u.names[uid]
}

// reload reads the file if it has changed. Callers hold mu.
func (u *users) reload() {
	f, err := os.Open(u.path)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.ModTime().Equal(u.changed) {
		return
	}
	u.changed, u.names = info.ModTime(), parsePasswd(f)
}

// parsePasswd reads passwd(5). The first name of a number counts, as for getpwuid.
func parsePasswd(r io.Reader) map[uint32]string {
	names := map[uint32]string{}
	sc := bufio.NewScanner(io.LimitReader(r, maxPasswd))
	for sc.Scan() && len(names) < maxUsers {
		fields := strings.Split(sc.Text(), ":")
		if len(fields) < 4 || fields[0] == "" {
			continue
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		if _, known := names[uint32(uid)]; !known {
			names[uint32(uid)] = fields[0]
		}
	}
	return names
}
