package enrich

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

const (
	id1 = "4a1c0b7d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f"
	id2 = "ffffeeeeddddccccbbbbaaaa99998888777766665555444433332222111100aa"
	uid = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
)

var under = strings.ReplaceAll(uid, "-", "_")

func TestParseCgroup(t *testing.T) {
	static := "0123456789abcdef0123456789abcdef"
	for _, test := range []struct {
		name, path string
		want       cgroupFacts
	}{
		{"containerd systemd burstable", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id1 + ".scope", cgroupFacts{id1, "containerd", uid}},
		{"containerd systemd guaranteed", "/kubepods.slice/kubepods-pod" + under + ".slice/cri-containerd-" + id1 + ".scope", cgroupFacts{id1, "containerd", uid}},
		{"containerd cgroupfs", "/kubepods/besteffort/pod" + uid + "/" + id1, cgroupFacts{id1, "", uid}},
		{"containerd cgroupfs guaranteed", "/kubepods/pod" + uid + "/" + id1, cgroupFacts{id1, "", uid}},
		{"containerd colon form", "/system.slice/containerd.service/kubepods-burstable-pod" + under + ".slice:cri-containerd:" + id1, cgroupFacts{id1, "containerd", uid}},
		{"cri-o systemd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/crio-" + id1 + ".scope", cgroupFacts{id1, "cri-o", uid}},
		{"cri-o container below", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/crio-" + id1 + ".scope/container", cgroupFacts{id1, "cri-o", uid}},
		{"cri-o cgroupfs", "/kubepods/burstable/pod" + uid + "/crio-" + id1, cgroupFacts{id1, "cri-o", uid}},
		{"cri-o conmon", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/crio-conmon-" + id1 + ".scope", cgroupFacts{"", "", uid}},
		{"dockershim systemd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/docker-" + id1 + ".scope", cgroupFacts{id1, "docker", uid}},
		{"static pod", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + static + ".slice/cri-containerd-" + id1 + ".scope", cgroupFacts{id1, "containerd", static}},
		{"docker systemd", "/system.slice/docker-" + id1 + ".scope", cgroupFacts{id1, "docker", ""}},
		{"docker systemd with systemd inside", "/system.slice/docker-" + id1 + ".scope/system.slice/ssh.service", cgroupFacts{id1, "docker", ""}},
		{"docker cgroupfs", "/docker/" + id1, cgroupFacts{id1, "docker", ""}},
		{"docker rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id1 + ".scope", cgroupFacts{id1, "docker", ""}},
		{"docker in docker", "/docker/" + id1 + "/docker/" + id2, cgroupFacts{id2, "docker", ""}},
		{"docker in docker systemd", "/system.slice/docker-" + id1 + ".scope/docker/" + id2, cgroupFacts{id2, "docker", ""}},
		{"docker in a pod", "/kubepods/burstable/pod" + uid + "/" + id1 + "/docker/" + id2, cgroupFacts{id2, "docker", uid}},
		{"kind cgroupfs", "/docker/" + id1 + "/kubelet/kubepods/besteffort/pod" + uid + "/" + id2, cgroupFacts{id2, "", uid}},
		{"kind systemd", "/system.slice/docker-" + id1 + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id2 + ".scope", cgroupFacts{id2, "containerd", uid}},
		{"kind node's kubelet", "/system.slice/docker-" + id1 + ".scope/kubelet.slice/kubelet.service", cgroupFacts{id1, "docker", ""}},
		{"podman root", "/machine.slice/libpod-" + id1 + ".scope", cgroupFacts{id1, "podman", ""}},
		{"podman container below", "/machine.slice/libpod-" + id1 + ".scope/container", cgroupFacts{id1, "podman", ""}},
		{"podman rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope/container", cgroupFacts{id1, "podman", ""}},
		{"podman pod", "/machine.slice/machine-libpod_pod_" + id2 + ".slice/libpod-" + id1 + ".scope", cgroupFacts{id1, "podman", ""}},
		{"podman conmon", "/machine.slice/libpod-conmon-" + id1 + ".scope", cgroupFacts{}},
		{"podman cgroupfs", "/libpod_parent/libpod-" + id1, cgroupFacts{id1, "podman", ""}},
		{"podman quadlet", "/system.slice/web.service/libpod-payload-" + id1, cgroupFacts{id1, "podman", ""}},
		{"nerdctl", "/system.slice/nerdctl-" + id1 + ".scope", cgroupFacts{id1, "containerd", ""}},
		{"ctr", "/default/" + id1, cgroupFacts{id1, "containerd", ""}},
		{"ecs", "/ecs/0123/" + id1, cgroupFacts{id1, "", ""}},
		{"namespace relative", "/../../kubepods/pod" + uid + "/" + id1, cgroupFacts{id1, "", uid}},
		{"host service", "/system.slice/ssh.service", cgroupFacts{}},
		{"user session", "/user.slice/user-1000.slice/session-3.scope", cgroupFacts{}},
		{"root", "/", cgroupFacts{}},
		{"short id", "/docker/abcdef", cgroupFacts{}},
		{"upper case id", "/docker/" + strings.ToUpper(id1), cgroupFacts{}},
		{"a service named podinfo", "/system.slice/podinfo.service", cgroupFacts{}},
		{"endless", "/docker/" + id1 + strings.Repeat("/x", maxCgroupPath), cgroupFacts{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, parseCgroup(test.path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("/docker/" + id1)
	f.Add("/kubepods/pod" + uid + "/crio-" + id1)
	f.Add("a:cri-containerd:" + id1)
	f.Fuzz(func(t *testing.T, path string) {
		got := parseCgroup(path)
		if got.ID != "" && !isID(got.ID) {
			t.Fatalf("id %q", got.ID)
		}
		if n := len(got.PodUID); n != 0 && n != 32 && n != 36 {
			t.Fatalf("pod %q", got.PodUID)
		}
	})
}

// table is a ProcessSource.
type table map[sensor.ProcessRef]sensor.Process

func (t table) Process(r sensor.ProcessRef) (sensor.Process, bool) { p, ok := t[r]; return p, ok }

func ref(pid uint32) sensor.ProcessRef { return sensor.ProcessRef{PID: pid, Start: uint64(pid) * 10} }

func passwd(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProcess(t *testing.T) {
	cfg := Config{Passwd: passwd(t, "root:x:0:0::/root:/bin/sh\nalso:x:0:0::/:\nbroken\nnot:x:number:0::/:\nmia:x:1000:1000::/home/mia:/bin/sh\n")}
	source := table{
		ref(1):  {Ref: ref(1), Executable: "/sbin/init", Name: "init"},
		ref(10): {Ref: ref(10), Parent: ref(1), Executable: "/bin/bash", Name: "bash", UID: 1000},
		ref(20): {Ref: ref(20), Parent: ref(10), Executable: "/usr/bin/mysql", Name: "mysql", Args: []string{"mysql", "-psecret"}, UID: 1000, CgroupPath: "/user.slice"},
		ref(30): {Ref: ref(30), Parent: ref(30), Name: "own parent", UID: 1000, CgroupPath: "/docker/" + id1},
	}
	e := New(cfg, source, hclog.NewNullLogger())
	var o rules.Observation
	e.Enrich(&o, sensor.OwnerRef{Process: ref(20), Attribution: rules.AttributionExact, UID: 1000})
	want := rules.Owner{
		Attribution: rules.AttributionExact,
		Process:     &rules.Process{PID: 20, Executable: "/usr/bin/mysql", Name: "mysql", Args: []string{"mysql", "-p[redacted]"}, UID: 1000, User: "mia"},
		Parents: []rules.Process{{PID: 10, Executable: "/bin/bash", Name: "bash", UID: 1000, User: "mia"},
			{PID: 1, Executable: "/sbin/init", Name: "init", User: "root"}},
	}
	if diff := cmp.Diff(want, o.Owner); diff != "" {
		t.Error(diff)
	}

	o = rules.Observation{}
	e.Enrich(&o, sensor.OwnerRef{Process: ref(30), Attribution: rules.AttributionInherited})
	if o.Owner.Process.User != "" || o.Owner.Container == nil || o.Owner.Container.ID != id1 || len(o.Owner.Parents) != 0 {
		t.Errorf("owner in a container = %+v", o.Owner)
	}

	o = rules.Observation{}
	e.Enrich(&o, sensor.OwnerRef{Process: ref(99), Comm: "gone", UID: 1000})
	if diff := cmp.Diff(&rules.Process{PID: 99, Name: "gone", UID: 1000, User: "mia"}, o.Owner.Process); diff != "" || o.Owner.Attribution != rules.AttributionUnknown {
		t.Errorf("%s %s", o.Owner.Attribution, diff)
	}

	// The number is the same, the process is not.
	o = rules.Observation{}
	e.Enrich(&o, sensor.OwnerRef{Process: sensor.ProcessRef{PID: 20, Start: 1}, Comm: "other"})
	if o.Owner.Process.Name != "other" || o.Owner.Process.Executable != "" {
		t.Errorf("a reused number gave %+v", o.Owner.Process)
	}

	o = rules.Observation{}
	New(cfg, nil, hclog.NewNullLogger()).Enrich(&o, sensor.OwnerRef{})
	if o.Owner.Process != nil || o.Owner.Attribution != rules.AttributionUnknown {
		t.Errorf("owner out of nothing: %+v", o.Owner)
	}
}

func writeDB(t *testing.T, path, kind string, records map[string]mmdbtype.Map) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func city(country, name string) mmdbtype.Map {
	return mmdbtype.Map{
		"country": mmdbtype.Map{"iso_code": mmdbtype.String(country)},
		"city":    mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name)}},
	}
}

func TestGeoIP(t *testing.T) {
	dir := t.TempDir()
	cfg := DefaultConfig()
	cfg.GeoIP = GeoIPConfig{City: filepath.Join(dir, "city.mmdb"), ASN: filepath.Join(dir, "asn.mmdb")}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	writeDB(t, cfg.GeoIP.City, "GeoLite2-City", map[string]mmdbtype.Map{"192.0.2.0/24": city("NL", "Delft"), "2001:db8::/32": city("FR", "Lyon")})
	asn := mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500), "autonomous_system_organization": mmdbtype.String("Example")}
	writeDB(t, cfg.GeoIP.ASN, "GeoLite2-ASN", map[string]mmdbtype.Map{"192.0.2.0/24": asn, "198.51.100.0/24": asn})
	e := New(cfg, nil, hclog.NewNullLogger())
	defer e.Close()
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	look := func(addr string, hidden string) *rules.Geo {
		o := rules.Observation{Remote: rules.Endpoint{Addr: netip.MustParseAddr(addr)}}
		if hidden != "" {
			o.Hidden = &rules.Hidden{Addr: netip.MustParseAddr(hidden)}
		}
		e.Enrich(&o, sensor.OwnerRef{})
		return o.Geo
	}
	for _, test := range []struct {
		addr, hidden string
		want         *rules.Geo
	}{
		{"192.0.2.7", "", &rules.Geo{Country: "NL", City: "Delft", ASN: 64500, Organisation: "Example"}},
		{"::ffff:192.0.2.7", "", &rules.Geo{Country: "NL", City: "Delft", ASN: 64500, Organisation: "Example"}},
		{"2001:db8::1", "", &rules.Geo{Country: "FR", City: "Lyon"}},
		{"203.0.113.1", "192.0.2.7", &rules.Geo{Country: "NL", City: "Delft", ASN: 64500, Organisation: "Example"}},
		{"203.0.113.1", "", nil},
	} {
		if diff := cmp.Diff(test.want, look(test.addr, test.hidden)); diff != "" {
			t.Errorf("%s: %s", test.addr, diff)
		}
	}
	prefixes, err := e.Prefixes([]uint32{64500})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range prefixes {
		got = append(got, p.String())
	}
	if diff := cmp.Diff([]string{"192.0.2.0/24", "198.51.100.0/24"}, got); diff != "" {
		t.Error(diff)
	}

	// A broken file leaves the old one; a new one is taken over.
	later := time.Now().Add(time.Hour)
	if err := os.WriteFile(cfg.GeoIP.City+".bad", []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cfg.GeoIP.City+".bad", cfg.GeoIP.City); err != nil {
		t.Fatal(err)
	}
	if err := e.Open(); err == nil {
		t.Error("a broken database was taken")
	}
	if got := look("192.0.2.7", ""); got == nil || got.City != "Delft" {
		t.Errorf("after a broken database: %+v", got)
	}
	writeDB(t, cfg.GeoIP.City, "GeoLite2-City", map[string]mmdbtype.Map{"192.0.2.0/24": city("BE", "Gent")})
	if err := os.Chtimes(cfg.GeoIP.City, later, later); err != nil {
		t.Fatal(err)
	}
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	if got := look("192.0.2.7", ""); got == nil || got.City != "Gent" {
		t.Errorf("after a new database: %+v", got)
	}
}

func TestGeoIPWrongKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mmdb")
	writeDB(t, path, "GeoLite2-ASN", map[string]mmdbtype.Map{})
	e := New(Config{GeoIP: GeoIPConfig{City: path}}, nil, hclog.NewNullLogger())
	if err := e.Open(); err == nil || !strings.Contains(err.Error(), "not a City database") {
		t.Errorf("Open = %v", err)
	}
}

func TestASNChangesAreTold(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Passwd: passwd(t, ""), GeoIP: GeoIPConfig{City: filepath.Join(dir, "city.mmdb"), ASN: filepath.Join(dir, "asn.mmdb")}}
	write := func(path, kind string, age time.Duration) {
		writeDB(t, path, kind, map[string]mmdbtype.Map{"192.0.2.0/24": {"autonomous_system_number": mmdbtype.Uint32(64500)}})
		if err := os.Chtimes(path, time.Now().Add(-age), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	write(cfg.GeoIP.City, "GeoLite2-City", time.Hour)
	write(cfg.GeoIP.ASN, "GeoLite2-ASN", time.Hour)
	e := New(cfg, nil, hclog.NewNullLogger())
	defer e.Close()
	told := func() bool {
		t.Helper()
		if err := e.Open(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-e.ASNChanged():
			return true
		default:
			return false
		}
	}
	if told() {
		t.Error("told of the first database")
	}
	write(cfg.GeoIP.City, "GeoLite2-City", 0)
	if told() {
		t.Error("told of another database")
	}
	write(cfg.GeoIP.ASN, "GeoLite2-ASN", 0)
	if !told() || told() {
		t.Error("not told of the new database, or told twice")
	}
	if _, _, err := ASNPrefixes(cfg.GeoIP.City, []uint32{64500}); err == nil {
		t.Error("a city database was taken for one of ASNs")
	}
}
