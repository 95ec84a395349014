package console

import (
	"crypto/subtle"
	"errors"
	"net/http"

	"sallyport/collector/account"
)

// cookieName begins with __Host-, so that browsers take it over TLS only, from
// this host only.
const cookieName = "__Host-sallyport"

func setCookie(w http.ResponseWriter, secret string) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: secret, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func (c *Console) session(r *http.Request) (account.Session, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || len(cookie.Value) > 100 {
		return account.Session{}, account.ErrSession
	}
	return c.parts.Accounts.Session(r.Context(), cookie.Value)
}

func sameSecret(a, b string) bool {
	return b != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// signInPage is what the sign-in page shows.
type signInPage struct {
	User, Error string
	Provider    string // to sign in with, "" without one
	Passwords   bool   // are asked for
	SignedOut   string // where the session at the provider can be ended
}

func (c *Console) signInPage(user, problem string) signInPage {
	return signInPage{User: user, Error: problem, Provider: c.parts.Accounts.Provider(), Passwords: c.parts.Accounts.PasswordsAllowed()}
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request) {
	if _, err := c.session(r); err == nil {
		http.Redirect(w, r, "/findings", http.StatusSeeOther)
		return
	}
	c.render(w, http.StatusOK, "signin", account.Session{}, c.signInPage("", ""))
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	user := r.PostFormValue("user")
	secret, err := c.parts.Accounts.SignIn(r.Context(), user, r.PostFormValue("password"), address(r))
	switch {
	case errors.Is(err, account.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		c.render(w, http.StatusTooManyRequests, "signin", account.Session{}, c.signInPage(user, "Too many attempts. Wait a minute."))
	case errors.Is(err, account.ErrSignIn):
		c.logger.Warn("sign-in refused", "user", user, "address", r.RemoteAddr)
		c.render(w, http.StatusUnauthorized, "signin", account.Session{}, c.signInPage(user, "User name or password is wrong."))
	case err != nil:
		c.fail(w, r, account.Session{}, err)
	default:
		setCookie(w, secret)
		http.Redirect(w, r, "/findings", http.StatusSeeOther)
	}
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request, s account.Session) error {
	if err := c.parts.Accounts.SignOut(r.Context(), s); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", Secure: true, HttpOnly: true, MaxAge: -1})
	if at := c.parts.Accounts.SignOutURL(s); at != "" {
		p := c.signInPage("", "")
		p.SignedOut = at
		c.render(w, http.StatusOK, "signin", account.Session{}, p)
		return nil
	}
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}

// passwordPage is what the password page shows.
type passwordPage struct{ Error string }

func (c *Console) showPassword(w http.ResponseWriter, _ *http.Request, s account.Session) error {
	if s.External() {
		return refusal{http.StatusForbidden, "Your password is kept by " + c.parts.Accounts.Provider() + "; change it there."}
	}
	c.render(w, http.StatusOK, "password", s, passwordPage{})
	return nil
}

func (c *Console) changePassword(w http.ResponseWriter, r *http.Request, s account.Session) error {
	again := func(text string) error {
		c.render(w, http.StatusBadRequest, "password", s, passwordPage{text})
		return nil
	}
	if r.PostFormValue("new") != r.PostFormValue("repeat") {
		return again("The two new passwords differ.")
	}
	secret, err := c.parts.Accounts.ChangePassword(r.Context(), s, r.PostFormValue("old"), r.PostFormValue("new"))
	var bad account.BadPassword
	switch {
	case errors.As(err, &bad):
		return again(bad.Error())
	case err != nil:
		return err
	}
	setCookie(w, secret)
	http.Redirect(w, r, "/findings", http.StatusSeeOther)
	return nil
}
