package enrich

import (
	"slices"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"app|--password|hunter2|--verbose", "app|--password|[redacted]|--verbose"},
		{"app|--password=hunter2", "app|--password=[redacted]"},
		{"app|-db-password|hunter2", "app|-db-password|[redacted]"},
		{"app|--password-file|/run/secret|--token-path=/x", "app|--password-file|/run/secret|--token-path=/x"},
		{"app|--api-key|abc", "app|--api-key|[redacted]"},
		{"app|--api-key=abc|--port=443", "app|--api-key=[redacted]|--port=443"},
		{"env|AWS_SECRET_ACCESS_KEY=abc/def+x|HOME=/root|cmd", "env|AWS_SECRET_ACCESS_KEY=[redacted]|HOME=/root|cmd"},
		{"/usr/bin/mysql|-uroot|-phunter2|-h|db", "/usr/bin/mysql|-uroot|-p[redacted]|-h|db"},
		{"mysql|-p|database", "mysql|-p|database"},
		{"ssh|-p|2222|git@host", "ssh|-p|2222|git@host"},
		{"nc|-p|53", "nc|-p|53"},
		{"sshpass|-p|hunter2|ssh|host", "sshpass|-p|[redacted]|ssh|host"},
		{"sshpass|-phunter2|ssh|host", "sshpass|-p[redacted]|ssh|host"},
		{"curl|-u|user:pw|https://x", "curl|-u|[redacted]|https://x"},
		{"curl|-sSu|user:pw|https://x", "curl|-sSu|[redacted]|https://x"},
		{"curl|-sSf|https://x|-o|out", "curl|-sSf|https://x|-o|out"},
		{"sh|-c|curl -su a:b https://x", "sh|-c|curl -su [redacted] https://x"},
		{"curl|--silent|user:pw", "curl|--silent|user:pw"},
		{"curl|-H|Authorization: Bearer abcdef123456|https://x", "curl|-H|Authorization: Bearer [redacted]|https://x"},
		{"curl|-H|X-Api-Key: abcdef123456", "curl|-H|X-Api-Key: [redacted]"},
		{"curl|https://user:pa:ss@host/p?token=abc&x=1", "curl|https://user:[redacted]@host/p?token=[redacted]&x=1"},
		{"git|clone|ssh://git@github.com/x", "git|clone|ssh://git@github.com/x"},
		{"git|clone|https://0123456789abcdef0123@host/x", "git|clone|https://[redacted]@host/x"},
		{"git|clone|https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.com/x", "git|clone|https://[redacted]@github.com/x"},
		{"tool|eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef", "tool|[redacted]"},
		{"tool|AKIAABCDEFGHIJKLMNOP", "tool|[redacted]"},
		{"sallyport|enrol|sp1.eyJ1cmwiOiJodHRwczovL2MifQ", "sallyport|enrol|[redacted]"},
		{"docker|login|-u|me|-p|hunter2", "docker|login|-u|me|-p|[redacted]"},
		{"docker|run|-p|80:80|x", "docker|run|-p|80:80|x"},
		{"xfreerdp|/u:me|/p:hunter2|/v:host", "xfreerdp|/u:me|/p:[redacted]|/v:host"},
		{"sh|-c|mysql -uroot -phunter2 db; curl -u a:b https://x", "sh|-c|mysql -uroot -p[redacted] db; curl -u [redacted] https://x"},
		{"sh|-c|app --password hunter2", "sh|-c|app --password [redacted]"},
		{"psql|postgres://u:hunter2@db/x", "psql|postgres://u:[redacted]@db/x"},
		{`app|{"password": "hunter2", "user": "me"}`, `app|{"password": "[redacted]", "user": "me"}`},
		{"ls|-la|/etc", "ls|-la|/etc"},
		{"app|--password", "app|--password"},
	} {
		in := strings.Split(test.in, "|")
		before := slices.Clone(in)
		if got := strings.Join(Redact(in), "|"); got != test.want {
			t.Errorf("Redact(%s)\n got %s\nwant %s", test.in, got, test.want)
		}
		if !slices.Equal(before, in) {
			t.Errorf("Redact changed its input: %v", in)
		}
	}
	if Redact(nil) != nil {
		t.Error("Redact(nil) is not nil")
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("curl", "-u", "a:b")
	f.Add("x", "https://a:b@c", "token=\x00")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if got := Redact([]string{a, b, c}); len(got) != 3 {
			t.Fatalf("%d arguments", len(got))
		}
		const secret = "hunter2hunter2"
		if got := Redact([]string{a, "--password", secret}); strings.Contains(got[2], secret) {
			t.Fatalf("kept %q", got)
		}
	})
}
