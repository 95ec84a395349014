package export

import "strings"

// attack is what a rule's tags say of ATT&CK.
type attack struct {
	tactics       []string // "command-and-control"
	techniques    []string // "T1219"
	subtechniques []string // "T1090.003"
}

// attackOf reads Sigma's tags: attack.t1219, attack.t1090.003, attack.exfiltration.
func attackOf(tags []string) attack {
	var a attack
	for _, tag := range tags {
		name, ok := strings.CutPrefix(strings.ToLower(tag), "attack.")
		if !ok {
			continue
		}
		switch id := strings.ToUpper(name); {
		case !isTechnique(id):
			if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-_") == "" {
				a.tactics = append(a.tactics, strings.ReplaceAll(name, "_", "-"))
			} // else a group or software, which is not a technique
		case strings.Contains(id, "."):
			a.subtechniques = append(a.subtechniques, id)
		default:
			a.techniques = append(a.techniques, id)
		}
	}
	return a
}

// isTechnique recognises T1234 and T1234.001.
func isTechnique(id string) bool {
	id, sub, _ := strings.Cut(id, ".")
	return len(id) == 5 && id[0] == 'T' && strings.Trim(id[1:], "0123456789") == "" && strings.Trim(sub, "0123456789") == ""
}
