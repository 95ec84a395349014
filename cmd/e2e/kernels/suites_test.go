package kernels

// suite is a Debian suite whose newest kernel is tried.
type suite struct {
	name    string // as in sources.list
	archive string
	series  string // of its kernel, for people
}

const (
	mainArchive     = "http://deb.debian.org/debian"
	securityArchive = "http://deb.debian.org/debian-security"
)

// suites go from the oldest kernel that is supported to the newest that Debian
// has: design says 5.10 to 7.
var suites = []suite{
	{"bullseye-security", securityArchive, "5.10"},
	{"bookworm-security", securityArchive, "6.1"},
	{"trixie-security", securityArchive, "6.12"},
	{"trixie-backports", mainArchive, "7"},
}

// modules are loaded before the tests, where the kernel has them: what a test
// makes a device of is loaded by the kernel itself.
var modules = []string{
	"veth", "tun", "wireguard", "xfrm_user", "esp4", "esp6", "ah4", "ip_gre", "ip6_gre", "ipip", "sit", "vxlan", "geneve", "fou",
	"l2tp_eth", "l2tp_ip", "l2tp_ppp", "ppp_async", "ppp_synctty", "pppox", "bridge", "dummy", "nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_chain_nat",
	"nft_compat", "af_packet_diag", "tcp_diag", "udp_diag", "inet_diag", "sch_netem", "mptcp_diag",
}

// piece is a test binary that runs on each kernel, without the tests that have
// nothing to do with the kernel.
type piece struct{ name, dir, skip string }

var pieces = []piece{
	{"bpf", "bpf", "ObjectsMatchTheirSources|TestDecode"},
	{"hostevidence", "agent/hostevidence", "Fuzz"},
	{"sensor", "agent/sensor", "ProductsByContent|TextProduct|Fuzz"},
}
