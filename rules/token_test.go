package rules

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	good := Token{URL: "https://collector.example:8443", CASHA256: strings.Repeat("ab", 32), Secret: "s3cret"}
	got, err := ParseToken(" " + good.Encode() + "\n")
	if err != nil || got != good {
		t.Fatalf("ParseToken = %+v, %v; want %+v", got, err, good)
	}
	if strings.Contains(good.String(), good.Secret) {
		t.Error("String shows the secret")
	}
}

func TestTokenRefused(t *testing.T) {
	ca := strings.Repeat("ab", 32)
	json := func(s string) string { return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct{ name, text string }{
		{"empty", ""},
		{"other prefix", "sp2.e30"},
		{"not base64", "sp1.***"},
		{"not JSON", json("hello")},
		{"unknown field", json(`{"url":"https://c","ca_sha256":"` + ca + `","secret":"x","more":1}`)},
		{"http", Token{"http://c", ca, "x"}.Encode()},
		{"path", Token{"https://c/x", ca, "x"}.Encode()},
		{"userinfo", Token{"https://u:p@c", ca, "x"}.Encode()},
		{"short hash", Token{"https://c", "abcd", "x"}.Encode()},
		{"upper hash", Token{"https://c", strings.ToUpper(ca), "x"}.Encode()},
		{"no secret", Token{"https://c", ca, ""}.Encode()},
		{"too long", tokenPrefix + strings.Repeat("A", maxToken)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ParseToken(test.text); !errors.Is(err, ErrToken) {
				t.Errorf("ParseToken(%q) error = %v, want ErrToken", test.text, err)
			}
		})
	}
}
