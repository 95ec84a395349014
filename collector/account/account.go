package account

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sallyport/collector/identity"
	"sallyport/collector/limit"
	"sallyport/collector/store"
)

// Errors a person sees.
var (
	ErrSignIn  = errors.New("user name or password is wrong")
	ErrTooMany = errors.New("too many attempts; wait a minute")
	ErrSession = errors.New("not signed in")
	ErrToken   = errors.New("token is unknown, revoked or expired")
)

// BadPassword is why a password was not changed, for the person.
type BadPassword struct{ text string }

func (b BadPassword) Error() string { return b.text }

// Store keeps accounts.
type Store interface {
	AddUser(context.Context, store.User) error
	PutUser(context.Context, store.User) error
	User(ctx context.Context, name string) (store.User, error)
	Users(context.Context) ([]store.User, error)
	RemoveUser(ctx context.Context, name string) error
	SetPassword(ctx context.Context, name, hash string, mustChange bool) error
	AddSession(context.Context, store.Session) error
	Session(ctx context.Context, hash string) (store.Session, error)
	TouchSession(ctx context.Context, hash string, at time.Time) error
	RemoveSession(ctx context.Context, hash string) error
	AddAPIToken(context.Context, store.APIToken) error
	APITokenByHash(ctx context.Context, hash string) (store.APIToken, error)
	LogAccess(context.Context, store.Access) error
}

// Accounts checks who asks.
type Accounts struct {
	cfg      Config
	store    Store
	attempts *attempts
	hashing  chan struct{} // each hash takes 64 MiB
	requests *limit.Keyed  // by person
	provider *provider
}

// New makes the accounts.
func New(cfg Config, s Store) *Accounts {
	return &Accounts{cfg: cfg, store: s, attempts: newAttempts(cfg.SignInsPerMinute), hashing: make(chan struct{}, 2), requests: limit.NewKeyed(cfg.RequestsPerSecond, int(10*cfg.RequestsPerSecond)), provider: &provider{cfg: cfg.OIDC}}
}

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// AddUser makes a user with a one-time password, which it returns.
func (a *Accounts) AddUser(ctx context.Context, name, role string, evidence bool) (string, error) {
	if !userName.MatchString(name) {
		return "", fmt.Errorf("%q cannot be a user's name: letters, digits, . _ @ - only", name)
	}
	if err := checkRole(role); err != nil {
		return "", err
	}
	password := oneTimePassword()
	return password, a.store.AddUser(ctx, store.User{
		Name: name, PasswordHash: hashPassword(password), Role: role, Evidence: evidence, MustChange: true, Created: time.Now(),
	})
}

// ResetPassword gives a user a new one-time password and ends the user's sessions.
func (a *Accounts) ResetPassword(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, providerPrefix) {
		return "", fmt.Errorf("the password of %s is kept by the OpenID Connect provider", name)
	}
	password := oneTimePassword()
	return password, a.store.SetPassword(ctx, name, hashPassword(password), true)
}

// Session is a person who is signed in.
type Session struct {
	Principal
	User       string
	CSRF       string
	MustChange bool
	hash       string
}

// SignIn checks a password and returns the secret for the session's cookie.
func (a *Accounts) SignIn(ctx context.Context, name, password, address string) (string, error) {
	now := time.Now()
	if !a.attempts.allow("user "+name, now) || !a.attempts.allow("address "+address, now) {
		return "", ErrTooMany
	}
	u, err := a.store.User(ctx, name)
	unknown := errors.Is(err, store.ErrNotFound)
	if err != nil && !unknown {
		return "", err
	}
	if unknown {
		u.PasswordHash = nobody // as much work as for a user there is
	}
	if !a.check(ctx, u.PasswordHash, password) || unknown || !a.cfg.OIDC.passwordAllowed(name) {
		return "", errors.Join(ErrSignIn, a.log(ctx, now, "user:"+name, "sign-in refused", address))
	}
	if err := a.log(ctx, now, "user:"+name, "signed in", address); err != nil {
		return "", err
	}
	return a.open(ctx, name, now)
}

func (a *Accounts) log(ctx context.Context, at time.Time, actor, action, address string) error {
	return a.store.LogAccess(ctx, store.Access{At: at, Actor: actor, Action: action, Subject: "console", Address: address})
}

// nobody is the hash of no password.
const nobody = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func (a *Accounts) check(ctx context.Context, hash, password string) bool {
	if len(password) > maxPassword {
		return false
	}
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return false
	}
	return checkPassword(hash, password)
}

func (a *Accounts) open(ctx context.Context, name string, now time.Time) (string, error) {
	secret := random()
	err := a.store.AddSession(ctx, store.Session{
		Hash: identity.Hash(secret), User: name, CSRF: random(), Created: now, Seen: now, Expires: now.Add(a.cfg.SessionLife),
	})
	return secret, err
}

// Session finds who a cookie belongs to.
func (a *Accounts) Session(ctx context.Context, secret string) (Session, error) {
	s, err := a.store.Session(ctx, identity.Hash(secret))
	if errors.Is(err, store.ErrNotFound) {
		return Session{}, ErrSession
	}
	if err != nil {
		return Session{}, err
	}
	now := time.Now()
	if now.After(s.Expires) || now.Sub(s.Seen) > a.cfg.SessionIdle {
		return Session{}, errors.Join(ErrSession, a.store.RemoveSession(ctx, s.Hash))
	}
	u, err := a.store.User(ctx, s.User)
	if err != nil {
		return Session{}, err
	}
	if now.Sub(s.Seen) > a.cfg.SessionIdle/10 {
		if err := a.store.TouchSession(ctx, s.Hash, now); err != nil {
			return Session{}, err
		}
	}
	return Session{
		Principal: Principal{Name: "user:" + u.Name, Role: u.Role, Evidence: u.Evidence},
		User:      u.Name, CSRF: s.CSRF, MustChange: u.MustChange, hash: s.Hash,
	}, nil
}

// Admit counts a person's request; where it is one too many, wait says for how
// long.
func (a *Accounts) Admit(s Session) (wait time.Duration, ok bool) {
	return a.requests.Take(s.User, time.Now())
}

// SignOut ends a session.
func (a *Accounts) SignOut(ctx context.Context, s Session) error {
	return a.store.RemoveSession(ctx, s.hash)
}

// ChangePassword sets a password of the user's own choice, ends every session of
// the user and returns the secret of a new one.
func (a *Accounts) ChangePassword(ctx context.Context, s Session, old, password string) (string, error) {
	now := time.Now()
	if s.External() {
		return "", BadPassword{"Your password is kept by " + a.cfg.OIDC.Title + "; change it there."}
	}
	if !a.attempts.allow("user "+s.User, now) {
		return "", BadPassword{"Too many attempts. Wait a minute."}
	}
	u, err := a.store.User(ctx, s.User)
	if err != nil {
		return "", err
	}
	if !a.check(ctx, u.PasswordHash, old) {
		return "", BadPassword{"The present password is wrong."}
	}
	if err := acceptable(s.User, password); err != nil {
		return "", err
	}
	if old == password {
		return "", BadPassword{"The new password must differ from the present one."}
	}
	if err := a.store.SetPassword(ctx, s.User, hashPassword(password), false); err != nil {
		return "", err
	}
	return a.open(ctx, s.User, now)
}

// AddAPIToken makes a token for a program and returns its secret.
func (a *Accounts) AddAPIToken(ctx context.Context, name, role string, evidence bool, life time.Duration) (string, error) {
	if !userName.MatchString(name) {
		return "", fmt.Errorf("%q cannot be a token's name: letters, digits, . _ @ - only", name)
	}
	if err := checkRole(role); err != nil {
		return "", err
	}
	if life < time.Minute || life > 366*24*time.Hour {
		return "", errors.New("the token's life must lie between 1m and 8784h")
	}
	secret := "spapi_" + random()
	now := time.Now()
	return secret, a.store.AddAPIToken(ctx, store.APIToken{
		Name: name, Hash: identity.Hash(secret), Role: role, Evidence: evidence, Created: now, Expires: now.Add(life),
	})
}

// Token finds who a bearer token belongs to.
func (a *Accounts) Token(ctx context.Context, secret string) (Principal, error) {
	t, err := a.store.APITokenByHash(ctx, identity.Hash(secret))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Principal{}, ErrToken
	case err != nil:
		return Principal{}, err
	case !t.Revoked.IsZero() || time.Now().After(t.Expires):
		return Principal{}, ErrToken
	}
	return Principal{Name: "token:" + t.Name, Role: t.Role, Evidence: t.Evidence}, nil
}

// random is 192 random bits as base64url.
func random() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
