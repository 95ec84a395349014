package enrich

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// redacted stands for a secret.
const redacted = "[redacted]"

// secretWords make a name that holds one of them a secret's name: --db-password,
// AWS_SECRET_ACCESS_KEY, token=.
var secretWords = []string{"password", "passwd", "passphrase", "passwort", "pwd", "secret", "token", "apikey", "accesskey",
	"privatekey", "authkey", "credential", "bearer", "authorization", "cookie", "presharedkey", "psk", "signature"}

// secretNames are names too short or too common to look for inside others.
var secretNames = []string{"pass", "pw", "auth", "sig", "key", "pin", "passin", "passout", "askpass", "accesstoken"}

// harmlessEnds turn a secret's name into the name of where it is kept.
var harmlessEnds = []string{"file", "path", "dir", "url", "uri", "type", "prompt", "policy", "length", "store", "id", "name", "env", "ttl", "expiry", "stdin"}

// toolFlags are short flags that carry a secret with one tool and something else
// with others. A trailing "*" also takes the value joined to the flag, and the
// flag at the end of several that share a dash.
var toolFlags = map[string][]string{
	"mysql": {"-p*only"}, "mysqldump": {"-p*only"}, "mysqladmin": {"-p*only"}, "mariadb": {"-p*only"}, "mariadb-dump": {"-p*only"},
	"sshpass": {"-p*"}, "redis-cli": {"-a*"}, "ldapsearch": {"-w*"}, "ldapmodify": {"-w*"}, "ldapadd": {"-w*"}, "ldapwhoami": {"-w*"},
	"curl": {"-u*", "--user", "-U*", "--proxy-user", "-b*"}, "wget": {"--http-user", "--ftp-user"}, "mosquitto_pub": {"-P*"}, "mosquitto_sub": {"-P*"},
	"smbclient": {"-U*"}, "rpcclient": {"-U*"}, "net": {"-U*"}, "rdesktop": {"-p*"}, "xfreerdp": {"/p:*only"}, "wlfreerdp": {"/p:*only"}, "xfreerdp3": {"/p:*only"}, "sdl-freerdp": {"/p:*only"},
	"sqlcmd": {"-P*"}, "bcp": {"-P*"}, "tsql": {"-P*"}, "mongo": {"-p*"}, "mongosh": {"-p*"}, "mongodump": {"-p*"},
	"ipmitool": {"-P*"}, "snmpwalk": {"-A*", "-X*", "-c*"}, "snmpget": {"-A*", "-X*", "-c*"}, "cqlsh": {"-p*"}, "influx": {"-t*"}, "zip": {"-P*"}, "unzip": {"-P*"}, "7z": {"-p*only"},
	"psexec.py": {"-hashes"}, "wmiexec.py": {"-hashes"}, "evil-winrm": {"-p*", "-H*"}, "nxc": {"-p*", "-H*"}, "crackmapexec": {"-p*", "-H*"}, "hydra": {"-p*"},
}

// shapes are secrets known by their form alone: GitHub, GitLab, Slack, AWS,
// Google and OpenAI keys, JSON web tokens, and our own enrolment tokens.
var shapes = regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|sk-[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?|sp1\.[A-Za-z0-9_-]{16,}|hvs\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,})`)

// userinfo is the part of a URL before the @ (RFC 3986 section 3.2.1). The password is all
// after the first colon.
var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s/@:?#]*)(:[^\s/?#]*)?@`)

// parameter is a name and a value joined by = or, in JSON and headers, a colon.
var parameter = regexp.MustCompile(`(?i)([A-Za-z0-9_.$-]+)("?\s*[=:]\s*"?)([^\s&;"',]+)`)

// scheme is an authentication scheme before its secret (RFC 9110 section 11.1).
var scheme = regexp.MustCompile(`(?i)\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=-]{6,}`)

// Redact gives the arguments with what is known to be secret replaced. It knows
// forms, not meanings: a secret in an unknown form stays, which docs/privacy.md
// says. The input is not changed.
func Redact(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	out := slices.Clone(args)
	flags := toolFlags[path.Base(args[0])]
	if len(args) > 2 && slices.Contains(args[1:], "login") { // docker, podman, helm registry, ...
		flags = append(slices.Clone(flags), "-p")
	}
	for i := 1; i < len(out); i++ {
		switch name, value, joined := flagOf(args[i], flags); {
		case name && joined:
			out[i] = value + redacted
		case name && i+1 < len(out):
			i++
			out[i] = redacted
		default:
			out[i] = redactText(args[i])
		}
	}
	if len(out) > 0 {
		out[0] = redactText(out[0])
	}
	return out
}

// flagOf says whether the argument is a flag whose value is a secret: the next
// argument, or, joined, what follows keep in this one.
func flagOf(arg string, flags []string) (secret bool, keep string, joined bool) {
	for _, f := range flags {
		flag, only := strings.CutSuffix(f, "only")
		flag, glued := strings.CutSuffix(flag, "*")
		switch {
		case arg == flag && !only:
			return true, "", false
		case glued && strings.HasPrefix(arg, flag) && len(arg) > len(flag) && !strings.HasPrefix(arg, "--"):
			return true, flag, true
		case glued && !only && sharesDash(arg, flag):
			return true, "", false
		}
	}
	if !strings.HasPrefix(arg, "-") || strings.ContainsAny(arg, " =:") {
		return false, "", false
	}
	return secretName(strings.TrimLeft(arg, "-")) && len(arg) > 2, "", false
}

// sharesDash says whether arg is several one-letter flags of which flag is the
// last, and so the only one that takes the next argument: curl -sSu.
func sharesDash(arg, flag string) bool {
	if len(flag) != 2 || flag[0] != '-' || len(arg) < 3 || arg[0] != '-' || arg[len(arg)-1] != flag[1] {
		return false
	}
	return !strings.ContainsFunc(arg[1:], func(r rune) bool { return !unicode.IsLetter(r) })
}

// secretName says whether a name is that of a secret.
func secretName(name string) bool {
	flat := strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(name))
	for _, end := range harmlessEnds {
		if strings.HasSuffix(flat, end) {
			return false
		}
	}
	if slices.Contains(secretNames, flat) {
		return true
	}
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(flat, w) })
}

// redactText replaces secrets inside one argument, a shell's command line
// among them.
func redactText(s string) string {
	if strings.Contains(s, "PRIVATE KEY-----") {
		return redacted
	}
	s = userinfo.ReplaceAllStringFunc(s, redactUserinfo)
	s = scheme.ReplaceAllString(s, "$1 "+redacted)
	s = redactParameters(s)
	s = shapes.ReplaceAllString(s, redacted)
	if strings.ContainsAny(s, " \t\n") {
		s = redactCommand(s)
	}
	return s
}

func redactUserinfo(s string) string {
	m := userinfo.FindStringSubmatch(s)
	switch {
	case m[3] != "":
		return m[1] + m[2] + ":" + redacted + "@"
	case len(m[2]) >= 20: // a token in the user's place
		return m[1] + redacted + "@"
	}
	return s
}

func redactParameters(s string) string {
	return parameter.ReplaceAllStringFunc(s, redactParameter)
}

func redactParameter(s string) string {
	m := parameter.FindStringSubmatch(s)
	name := strings.TrimLeft(m[1], "-$")
	switch {
	case strings.HasPrefix(m[3], redacted):
		return m[1] + m[2] + redacted + redactParameters(m[3][len(redacted):])
	case strings.EqualFold(m[3], "bearer"), strings.EqualFold(m[3], "basic"):
		return s
	case secretName(name) && !strings.HasPrefix(m[3], "//"):
		return m[1] + m[2] + redacted
	}
	return m[1] + m[2] + redactParameters(m[3]) // a URL's scheme looks like a name too
}

// redactCommand looks at the words of a command line in one argument, as after
// "sh -c": each simple command has flags of its own.
func redactCommand(s string) string {
	words := strings.Fields(s)
	if len(words) < 2 {
		return s
	}
	var flags []string
	changed := false
	for i := 0; i < len(words); i++ {
		if f, ok := toolFlags[path.Base(words[i])]; ok {
			flags = f
			continue
		}
		switch secret, keep, joined := flagOf(words[i], flags); {
		case secret && joined:
			words[i], changed = keep+redacted, true
		case secret && i+1 < len(words):
			i++
			words[i], changed = redacted, true
		}
	}
	if !changed {
		return s
	}
	return strings.Join(words, " ")
}
