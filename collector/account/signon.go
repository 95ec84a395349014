package account

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sallyport/collector/store"
)

// providerPrefix goes before the names of people of the provider. Users made here
// cannot be called so, so that nobody can pass for one of them.
const providerPrefix = "oidc:"

// ErrNoProvider is returned where no provider is configured.
var ErrNoProvider = errors.New("no OpenID Connect provider is configured")

// Provider is what the sign-in page calls the provider, "" without one.
func (a *Accounts) Provider() string {
	if !a.cfg.OIDC.Enabled() {
		return ""
	}
	return a.cfg.OIDC.Title
}

// PasswordsAllowed says whether the sign-in page asks for passwords.
func (a *Accounts) PasswordsAllowed() bool {
	return !a.cfg.OIDC.Only || len(a.cfg.OIDC.PasswordUsers) > 0
}

// BeginSignOn says where to send a browser to sign in with the provider, and what
// the browser must keep until it comes back.
func (a *Accounts) BeginSignOn(ctx context.Context, address string) (string, Attempt, error) {
	if !a.cfg.OIDC.Enabled() {
		return "", Attempt{}, ErrNoProvider
	}
	if !a.attempts.allow("address "+address, time.Now()) {
		return "", Attempt{}, ErrTooMany
	}
	return a.provider.begin(ctx)
}

// FinishSignOn takes what the browser brought back and returns the secret for the
// session's cookie. The role follows the groups at each sign-in.
func (a *Accounts) FinishSignOn(ctx context.Context, at Attempt, query url.Values, address string) (string, error) {
	if !a.cfg.OIDC.Enabled() {
		return "", ErrNoProvider
	}
	now := time.Now()
	if !a.attempts.allow("address "+address, now) {
		return "", ErrTooMany
	}
	who, err := a.provider.finish(ctx, at, query)
	if err == nil {
		err = a.admitPerson(ctx, who, now)
	}
	actor := "user:" + providerPrefix + orNobody(who.name)
	if err != nil {
		var d Denied
		if errors.As(err, &d) {
			return "", errors.Join(err, a.log(ctx, now, actor, "sign-in refused", address))
		}
		return "", err
	}
	if err := a.log(ctx, now, actor, "signed in", address); err != nil {
		return "", err
	}
	return a.open(ctx, providerPrefix+who.name, now)
}

// admitPerson keeps the person as a user without a password. Where the password's
// hash would be stands who the person is at the provider: an e-mail address may be
// given to another, the subject is not.
func (a *Accounts) admitPerson(ctx context.Context, who person, now time.Time) error {
	role, evidence := a.cfg.OIDC.role(who.groups)
	name, credential := providerPrefix+who.name, "oidc "+a.cfg.OIDC.Issuer+" "+who.subject
	before, err := a.store.User(ctx, name)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	switch {
	case known && before.PasswordHash != credential:
		return denied("The name %s belonged to another person at the provider. An administrator can remove that user here.", who.name)
	case role == "" && known: // who had a role once has none now
		return errors.Join(denied("You are in none of the groups that may sign in here: %s.", strings.Join(who.groups, ", ")), a.store.RemoveUser(ctx, name))
	case role == "":
		return denied("You are in none of the groups that may sign in here. The provider says that yours are: %s.", orNobody(strings.Join(who.groups, ", ")))
	}
	if err := a.store.PutUser(ctx, store.User{Name: name, PasswordHash: credential, Role: role, Evidence: evidence, Created: now}); err != nil {
		return fmt.Errorf("keep user: %w", err)
	}
	return nil
}

// SignOutURL is where a person of the provider can end the session there too, ""
// where there is no such place. The collector's session has ended already.
func (a *Accounts) SignOutURL(s Session) string {
	if !a.cfg.OIDC.Enabled() || !s.External() {
		return ""
	}
	a.provider.mu.Lock()
	defer a.provider.mu.Unlock()
	if a.provider.found == nil {
		return ""
	}
	u, err := url.Parse(a.provider.found.logout)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	q := u.Query()
	q.Set("client_id", a.cfg.OIDC.ClientID) // OpenID Connect RP-Initiated Logout section 2
	u.RawQuery = q.Encode()
	return u.String()
}

// External says whether the person's password is kept elsewhere.
func (s Session) External() bool { return strings.HasPrefix(s.User, providerPrefix) }

func orNobody(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
