package account

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport/collector/identity"
	"sallyport/collector/store"
)

func accounts(t *testing.T, cfg Config) (*Accounts, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), store.DefaultConfig(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return New(cfg, s), s
}

func TestPasswords(t *testing.T) {
	hash := hashPassword("correct horse battery")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("hash %q", hash)
	}
	for _, tt := range []struct {
		hash, password string
		want           bool
	}{
		{hash, "correct horse battery", true},
		{hash, "correct horse batterz", false},
		{hash, "", false},
		{nobody, "", false},
		{"", "", false},
		{"$argon2id$v=19$m=1,t=0,p=0$$", "", false},
		{"$2a$10$abc", "abc", false},
	} {
		if got := checkPassword(tt.hash, tt.password); got != tt.want {
			t.Errorf("check %q against %q: %t", tt.password, tt.hash, got)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	a, _ := accounts(t, DefaultConfig())
	ctx := t.Context()
	once, err := a.AddUser(ctx, "maria", Analyst, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.SignIn(ctx, "maria", "wrong", "x"); !errors.Is(err, ErrSignIn) {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := a.SignIn(ctx, "nobody", once, "x"); !errors.Is(err, ErrSignIn) {
		t.Errorf("unknown user: %v", err)
	}
	secret, err := a.SignIn(ctx, "maria", once, "x")
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Session(ctx, secret)
	if err != nil || s.User != "maria" || !s.MustChange || s.May(ReadEvidence) || !s.May(SetHold) || s.May(ReadAccessLog) {
		t.Fatalf("session %+v, %v", s, err)
	}
	var bad BadPassword
	for _, password := range []string{"short", "my name is Maria indeed", once, strings.Repeat("x", 300)} {
		if _, err := a.ChangePassword(ctx, s, once, password); !errors.As(err, &bad) {
			t.Errorf("password %q: %v", password, err)
		}
		a.attempts.counts = map[string]int{}
	}
	fresh, err := a.ChangePassword(ctx, s, once, "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Session(ctx, secret); !errors.Is(err, ErrSession) {
		t.Errorf("the old session: %v", err)
	}
	if s, err = a.Session(ctx, fresh); err != nil || s.MustChange {
		t.Errorf("the new session: %+v, %v", s, err)
	}
	if err := a.SignOut(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Session(ctx, fresh); !errors.Is(err, ErrSession) {
		t.Errorf("signed out: %v", err)
	}
}

func TestSessionsEnd(t *testing.T) {
	a, s := accounts(t, DefaultConfig())
	ctx := t.Context()
	if _, err := a.AddUser(ctx, "maria", Viewer, false); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]store.Session{
		"idle": {Created: time.Now().Add(-time.Hour), Seen: time.Now().Add(-31 * time.Minute), Expires: time.Now().Add(time.Hour)},
		"old":  {Created: time.Now().Add(-11 * time.Hour), Seen: time.Now(), Expires: time.Now().Add(-time.Second)},
	} {
		n.Hash, n.User = identity.Hash(name), "maria"
		if err := s.AddSession(ctx, n); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Session(ctx, name); !errors.Is(err, ErrSession) {
			t.Errorf("%s session: %v", name, err)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts(3)
	now := time.Unix(600, 0)
	for i := range 5 {
		if got := a.allow("user x", now); got != (i < 3) {
			t.Errorf("attempt %d: %t", i+1, got)
		}
	}
	if !a.allow("user x", now.Add(time.Minute)) {
		t.Error("not allowed a minute later")
	}
	for i := range maxAttemptKeys + 5 {
		a.allow(time.Duration(i).String(), now)
	}
	if len(a.counts) > maxAttemptKeys {
		t.Errorf("%d names are remembered", len(a.counts))
	}
}
