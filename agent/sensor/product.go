package sensor

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// product is a VPN or remote-access program, known by what its files contain:
// all of the texts of one row, or a Go module.
type product struct {
	name  string
	texts []string // each must be there
}

// contentProducts are recognised by texts that their source spells: messages and
// protocol constants, which a rename leaves alone.
var contentProducts = []product{
	{"softether", []string{"SoftEther VPN", "SecureNAT", "VPNCONNECT"}},
	{"openvpn", []string{"OpenVPN", "tls-crypt-v2", "push-peer-info"}},
	{"strongswan", []string{"strongSwan", "charon", "IKE_SA"}},
	{"openconnect", []string{"X-CSTP-Version", "X-DTLS-Master-Secret"}},
	{"tinc", []string{"tinc", "METAKEY", "Connections"}},
	{"sstp-client", []string{"sstp-pppd-plugin.so", "SSTP session was established for"}},
	{"openfortivpn", []string{"openfortivpn", "/remote/fortisslvpn_xml", "SVPNCOOKIE"}},
	{"freerdp", []string{"freerdp_", "RDG_OUT_DATA", "RPC_OUT_DATA"}},
}

// moduleProducts are Go modules, by the build information that the linker writes.
var moduleProducts = []struct{ module, name string }{
	{"tailscale.com", "tailscale"},
	{"github.com/slackhq/nebula", "nebula"},
	{"github.com/netbirdio/netbird", "netbird"},
	{"github.com/cloudflare/cloudflared", "cloudflared"},
	{"github.com/fatedier/frp", "frp"},
	{"github.com/jpillora/chisel", "chisel"},
	{"github.com/nicocha30/ligolo-ng", "ligolo-ng"},
	{"github.com/xjasonlyu/tun2socks/v2", "tun2socks"},
	{"github.com/sagernet/sing-box", "sing-box"},
	{"github.com/xtls/xray-core", "xray"},
	{"github.com/v2fly/v2ray-core/v5", "v2ray"},
	{"golang.zx2c4.com/wireguard", "wireguard"},
}

// contentLimit bounds what is read of a file.
const contentLimit = 64 << 20

// cacheLimit bounds the remembered files.
const cacheLimit = 4096

// fileID is a file's identity and version.
type fileID struct {
	dev, inode uint64
	mtime      int64
	size       int64
}

type recognised struct {
	product, reason string
}

// productReader recognises products in files, each once.
type productReader struct {
	self fileID

	mu    sync.Mutex
	cache map[fileID]recognised
}

func newProductReader() *productReader {
	r := &productReader{cache: map[fileID]recognised{}}
	r.self, _ = identify("/proc/self/exe")
	return r
}

// of says what product the files of a process carry, and which of its libraries
// do.
func (r *productReader) of(pid uint32) (name, reason string, libraries []string) {
	v := r.file(procPath(pid, "exe"))
	name, reason = v.product, v.reason
	executable, _ := os.Readlink(procPath(pid, "exe"))
	for _, path := range mappedFiles(pid) {
		if path == executable {
			continue
		}
		v := r.file(procPath(pid, "root"+strings.TrimSuffix(path, " (deleted)")))
		if v.product == "" {
			continue
		}
		libraries = append(libraries, path)
		if name == "" {
			name, reason = v.product, "mapped library "+filepath.Base(path)+": "+v.reason
		}
	}
	return name, reason, libraries
}

// file looks a file up, and reads it the first time.
func (r *productReader) file(path string) recognised {
	id, ok := identify(path)
	if !ok || id == r.self { // this program spells the texts too
		return recognised{}
	}
	r.mu.Lock()
	v, known := r.cache[id]
	r.mu.Unlock()
	if known {
		return v
	}
	v = examine(path)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= cacheLimit {
		clear(r.cache)
	}
	r.cache[id] = v
	return v
}

func identify(path string) (fileID, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, false
	}
	return fileID{st.Dev, st.Ino, st.Mtim.Nano(), st.Size}, true
}

func deviceOf(path string) (uint64, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return 0, false
	}
	return uint64(unix.Major(st.Rdev))<<8 | uint64(unix.Minor(st.Rdev)), true
}

func examine(path string) recognised {
	// Whoever owns the file may have put a FIFO in its place meanwhile.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return recognised{}
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return recognised{}
	}
	if v, isGo := goProduct(f); isGo {
		return v
	}
	return textProduct(io.NewSectionReader(f, 0, contentLimit))
}

// goProduct reads the build information of a Go program. A Go program without
// any of the modules carries no product: its texts may be a table like ours.
func goProduct(f io.ReaderAt) (v recognised, isGo bool) {
	info, err := buildinfo.Read(f)
	if err != nil {
		return recognised{}, false
	}
	for _, m := range moduleProducts {
		if info.Main.Path == m.module || info.Path == m.module || strings.HasPrefix(info.Path, m.module+"/") {
			return recognised{m.name, "built from Go module " + m.module}, true
		}
		for _, dep := range info.Deps {
			if dep.Path == m.module {
				return recognised{m.name, "built with Go module " + m.module}, true
			}
		}
	}
	return recognised{}, true
}

// textProduct looks for the texts of every product in one pass.
func textProduct(r io.Reader) recognised {
	found := make([]map[string]bool, len(contentProducts))
	for i := range found {
		found[i] = map[string]bool{}
	}
	const overlap = 64 // longer than any text
	buf := make([]byte, 256<<10)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		chunk := buf[:kept+n]
		for i, p := range contentProducts {
			for _, text := range p.texts {
				if !found[i][text] && bytes.Contains(chunk, []byte(text)) {
					found[i][text] = true
				}
			}
			if len(found[i]) == len(p.texts) {
				return recognised{p.name, "its code contains " + strings.Join(p.texts, ", ")}
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil {
			return recognised{}
		}
		kept = copy(buf, chunk[len(chunk)-overlap:])
	}
}
