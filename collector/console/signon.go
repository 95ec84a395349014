package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"

	"sallyport/collector/account"
)

// attemptCookie holds a sign-in under way with a provider. It is Lax: the browser
// brings it back from elsewhere, as it would not bring a Strict one.
const attemptCookie = "__Host-sallyport-signon"

// attemptLife is how long a person may take at the provider, in seconds.
const attemptLife = 600

// beginSignOn sends the browser to the provider.
func (c *Console) beginSignOn(w http.ResponseWriter, r *http.Request) {
	to, attempt, err := c.parts.Accounts.BeginSignOn(r.Context(), address(r))
	if err != nil {
		c.signOnFailed(w, r, err)
		return
	}
	text, err := json.Marshal(attempt)
	if err != nil {
		c.fail(w, r, account.Session{}, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: attemptCookie, Value: base64.RawURLEncoding.EncodeToString(text), Path: "/", MaxAge: attemptLife,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// finishSignOn takes the browser back from the provider. It answers with a page
// that goes on by itself: in a chain of redirects that began elsewhere, browsers
// leave the session's Strict cookie out.
func (c *Console) finishSignOn(w http.ResponseWriter, r *http.Request) {
	var attempt account.Attempt
	if cookie, err := r.Cookie(attemptCookie); err == nil && len(cookie.Value) < 1000 {
		if text, err := base64.RawURLEncoding.DecodeString(cookie.Value); err == nil {
			// What cannot be read is no attempt, which is refused below.
			_ = json.Unmarshal(text, &attempt)
		}
	}
	http.SetCookie(w, &http.Cookie{Name: attemptCookie, Path: "/", Secure: true, HttpOnly: true, MaxAge: -1})
	secret, err := c.parts.Accounts.FinishSignOn(r.Context(), attempt, r.URL.Query(), address(r))
	if err != nil {
		c.signOnFailed(w, r, err)
		return
	}
	setCookie(w, secret)
	c.render(w, http.StatusOK, "signedon", account.Session{}, nil)
}

// signOnFailed shows the sign-in page with what a person can do.
func (c *Console) signOnFailed(w http.ResponseWriter, r *http.Request, err error) {
	var denied account.Denied
	status, text := http.StatusBadGateway, "The provider cannot be asked now; the collector's log says why."
	switch {
	case errors.Is(err, account.ErrNoProvider):
		c.fail(w, r, account.Session{}, refusal{http.StatusNotFound, "No provider is configured to sign in with."})
		return
	case errors.Is(err, account.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		status, text = http.StatusTooManyRequests, "Too many attempts. Wait a minute."
	case errors.As(err, &denied):
		status, text = http.StatusForbidden, denied.Error()
		c.logger.Warn("sign-in refused", "detail", text, "address", r.RemoteAddr)
	default:
		c.logger.Error("sign-in with the provider failed", "error", err)
	}
	c.render(w, status, "signin", account.Session{}, c.signInPage("", text))
}
