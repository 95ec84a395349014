package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/agent/control"
	"sallyport/agent/testenv"
)

// imageCapabilities are those of the DaemonSet.
var imageCapabilities = []string{"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}

// buildImage runs deploy/container/image.sh on the tests' binaries.
func buildImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, program := range []string{"sallyport", "sallyport-collector"} {
		if err := os.Link(filepath.Join(binaries, program), filepath.Join(dir, program)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("../../deploy/container/image.sh")
	cmd.Env = append(os.Environ(), "BUILD="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build image: %v\n%s", err, out)
	}
	return filepath.Join(dir, "sallyport.oci.tar")
}

// blob reads a blob of an unpacked image as JSON.
func blob(t *testing.T, layout, digest string, v any) {
	t.Helper()
	data, err := os.ReadFile(blobPath(layout, digest))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", digest, err)
	}
}

func blobPath(layout, digest string) string {
	return filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1))
}

type digested struct {
	Digest string `json:"digest"`
}

// TestImage: the image comes out the same twice, names a user that is not root, and
// its agent runs in it with the DaemonSet's privileges, under runc, and passes the
// self-test.
func TestImage(t *testing.T) {
	runc := testenv.Tool(t, "runc")
	testenv.Exclusive(t)
	archive := buildImage(t)
	one, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.ReadFile(buildImage(t)); err != nil || !bytes.Equal(one, two) {
		t.Errorf("the same binaries gave two images (%v)", err)
	}
	bundle := t.TempDir()
	layout, root, state, etc := filepath.Join(bundle, "oci"), filepath.Join(bundle, "rootfs"), filepath.Join(bundle, "state"), filepath.Join(bundle, "etc")
	for _, dir := range []string{layout, root, state, etc} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Run(t, "tar", "-xf", archive, "-C", layout)
	var index struct{ Manifests []digested }
	if data, err := os.ReadFile(filepath.Join(layout, "index.json")); err != nil || json.Unmarshal(data, &index) != nil || len(index.Manifests) != 1 {
		t.Fatalf("index %+v, %v", index, err)
	}
	var manifest struct {
		Config digested
		Layers []digested
	}
	blob(t, layout, index.Manifests[0].Digest, &manifest)
	var image struct {
		Config struct {
			User            string
			Entrypoint, Cmd []string
		}
	}
	blob(t, layout, manifest.Config.Digest, &image)
	if image.Config.User != "65532:65532" {
		t.Errorf("the image's user is %q", image.Config.User)
	}
	testenv.Run(t, "tar", "-xzf", blobPath(layout, manifest.Layers[0].Digest), "-C", root)
	if err := os.WriteFile(filepath.Join(etc, "agent.yaml"), []byte("state_dir: /var/lib/sallyport\nmetrics: \"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeBundle(t, bundle, append(image.Config.Entrypoint, image.Config.Cmd...), map[string]string{etc: "/etc/sallyport", state: "/var/lib/sallyport"})

	name := fmt.Sprintf("sallyport-test-%d", os.Getpid())
	s := &site{dir: t.TempDir(), agentState: state}
	s.agentConfig = s.write(t, "agent.yaml", "state_dir: "+state+"\nmetrics: \"\"\n")
	agent := s.launch(t, "sallyport", exec.Command(runc, "run", "--bundle", bundle, name))
	t.Cleanup(func() { exec.Command(runc, "delete", "--force", name).Run() })
	client := control.NewClient(state)
	agent.until(t, "the agent in the image answers", func() bool {
		_, err := client.Status(t.Context())
		return err == nil
	})
	status, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Degraded) > 0 {
		t.Logf("degraded: %v", status.Degraded)
	}
	if out, code := s.sallyport(t, "selftest", "--timeout", patience.String()); code != 0 {
		t.Errorf("selftest: exit %d\n%s", code, out)
	}
	testenv.Run(t, runc, "kill", name, "TERM")
	if err := <-agent.done; err != nil {
		t.Errorf("the agent ended: %v", err)
	}
	agent.done <- nil
}

// writeBundle writes what the kubelet would ask a runtime for: deploy/kubernetes/agent.yaml
// in the words of the OCI runtime specification.
func writeBundle(t *testing.T, bundle string, args []string, folders map[string]string) {
	t.Helper()
	type object = map[string]any
	mounts := []object{
		{"destination": "/proc", "type": "bind", "source": "/proc", "options": []string{"rbind", "rw"}}, // hostPID
		{"destination": "/sys", "type": "bind", "source": "/sys", "options": []string{"rbind", "ro"}},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=65536k"}},
	}
	for from, to := range folders {
		mounts = append(mounts, object{"destination": to, "type": "bind", "source": from, "options": []string{"rbind", "rw"}})
	}
	config, err := json.Marshal(object{
		"ociVersion": "1.0.2",
		"root":       object{"path": "rootfs", "readonly": true},
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "args": args, "cwd": "/", "noNewPrivileges": true,
			"capabilities": object{"bounding": imageCapabilities, "effective": imageCapabilities, "permitted": imageCapabilities},
		},
		"mounts": mounts,
		"linux":  object{"namespaces": []object{{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
}
