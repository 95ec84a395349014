package account

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Argon2id's parameters: the second recommendation of RFC 9106 section 4.
const (
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
	argonKey     = 32
	argonSalt    = 16
)

const (
	minPassword = 12
	maxPassword = 256
)

// hashPassword gives the PHC string of a password.
func hashPassword(password string) string {
	salt := make([]byte, argonSalt)
	rand.Read(salt) // never fails (crypto/rand)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b.EncodeToString(salt), b.EncodeToString(key))
}

// checkPassword says whether a password is the one of a PHC string.
func checkPassword(phc, password string) bool {
	var version, memory, passes int
	var threads uint8
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) == 0 || memory < 8 || passes < 1 || threads < 1 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, uint32(passes), uint32(memory), threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

// acceptable says why a password cannot be chosen.
func acceptable(user, password string) error {
	switch {
	case len(password) < minPassword:
		return BadPassword{fmt.Sprintf("A password has at least %d characters.", minPassword)}
	case len(password) > maxPassword:
		return BadPassword{fmt.Sprintf("A password has at most %d characters.", maxPassword)}
	case strings.Contains(strings.ToLower(password), strings.ToLower(user)):
		return BadPassword{"A password must not hold the user's name."}
	}
	return nil
}

// oneTimePassword is a password for a person to type once.
func oneTimePassword() string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789" // none that look alike
	b := make([]byte, 20)
	rand.Read(b)
	var out strings.Builder
	for i, x := range b {
		if i > 0 && i%5 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(letters[int(x)%len(letters)]) // 31 letters: a bias of 1/8, over 97 bits
	}
	return out.String()
}
