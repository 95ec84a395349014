package account

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
)

// OIDCConfig has people sign in with an OpenID Connect provider beside, or instead
// of, passwords kept here.
type OIDCConfig struct {
	// Issuer is the provider's address as it calls itself, https. Empty: no provider.
	Issuer string `yaml:"issuer"`
	// Title is what the sign-in page calls it.
	Title string `yaml:"title"`
	// ClientID and ClientSecretFile are what the provider knows the collector by. A
	// public client has no secret.
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// RedirectURL is the console's address with OIDCCallback behind it, as the
	// provider knows it.
	RedirectURL string `yaml:"redirect_url"`
	// CAFile is a PEM file of the provider's CA. Empty: the system's.
	CAFile string `yaml:"ca_file"`
	// Scopes to ask for; openid is among them in any case.
	Scopes []string `yaml:"scopes"`
	// NameClaim of the ID token names the person here.
	NameClaim string `yaml:"name_claim"`
	// GroupsClaim of the ID token, or else of the user info, lists a person's groups.
	GroupsClaim string `yaml:"groups_claim"`
	// Roles are given to groups; of several a person has the highest.
	Roles []GroupRole `yaml:"roles"`
	// DefaultRole is of those in none of the groups. Empty: they are refused.
	DefaultRole string `yaml:"default_role"`
	// Only refuses passwords, but to the users whom the configuration names in
	// PasswordUsers, for the day when the provider is away.
	Only          bool     `yaml:"only"`
	PasswordUsers []string `yaml:"password_users"`
}

// GroupRole is what the members of a group are.
type GroupRole struct {
	Group    string `yaml:"group"`
	Role     string `yaml:"role"`
	Evidence bool   `yaml:"evidence"` // may read packets
}

// OIDCCallback is where the provider sends people back to.
const OIDCCallback = "/signin/oidc/callback"

// DefaultOIDCConfig has no provider.
func DefaultOIDCConfig() OIDCConfig {
	return OIDCConfig{
		Title: "single sign-on", Scopes: []string{"profile", "email", "groups"}, NameClaim: "email", GroupsClaim: "groups",
		Roles: []GroupRole{}, PasswordUsers: []string{},
	}
}

// Enabled says whether there is a provider.
func (c OIDCConfig) Enabled() bool { return c.Issuer != "" }

// Validate says what is wrong and what to write instead.
func (c OIDCConfig) Validate() error {
	if !c.Enabled() {
		if c.Only {
			return errors.New("account.oidc.only is set, but account.oidc.issuer names no provider, so that nobody could sign in")
		}
		return nil
	}
	if u, err := url.Parse(c.Issuer); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("account.oidc.issuer is %q; give the https address that the provider calls itself", c.Issuer)
	}
	if u, err := url.Parse(c.RedirectURL); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != OIDCCallback {
		return fmt.Errorf("account.oidc.redirect_url is %q; give https://HOST:PORT%s, as the provider knows it", c.RedirectURL, OIDCCallback)
	}
	switch {
	case c.ClientID == "":
		return errors.New("account.oidc.client_id is empty")
	case c.NameClaim == "" || c.GroupsClaim == "":
		return errors.New("account.oidc: name_claim and groups_claim must not be empty")
	case c.Title == "":
		return errors.New("account.oidc.title is empty; say what people know the provider as")
	case len(c.Roles) == 0 && c.DefaultRole == "":
		return errors.New("account.oidc.roles is empty, so that nobody could sign in; give groups their roles, or set default_role")
	}
	for what, path := range map[string]string{"client_secret_file": c.ClientSecretFile, "ca_file": c.CAFile} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("account.oidc.%s is %q; give an absolute path", what, path)
		}
	}
	for _, r := range c.Roles {
		if r.Group == "" {
			return errors.New("account.oidc.roles: a group is empty")
		}
		if err := checkRole(r.Role); err != nil {
			return fmt.Errorf("account.oidc.roles: group %q: %w", r.Group, err)
		}
	}
	if c.DefaultRole != "" {
		if err := checkRole(c.DefaultRole); err != nil {
			return fmt.Errorf("account.oidc.default_role: %w", err)
		}
	}
	return nil
}

// roleOrder is from the role that may least to the one that may most; an auditor
// reads what an analyst may not, so that who is both is told apart by the operator.
var roleOrder = []string{Viewer, Analyst, Auditor, Admin}

// role is what a member of groups is; "" is nobody.
func (c OIDCConfig) role(groups []string) (role string, evidence bool) {
	role = c.DefaultRole
	for _, r := range c.Roles {
		if !slices.Contains(groups, r.Group) {
			continue
		}
		if role == "" || slices.Index(roleOrder, r.Role) > slices.Index(roleOrder, role) {
			role = r.Role
		}
		evidence = evidence || r.Evidence
	}
	return role, evidence
}

// passwordAllowed says whether a user may sign in with a password.
func (c OIDCConfig) passwordAllowed(user string) bool {
	return !c.Only || slices.Contains(c.PasswordUsers, user)
}
