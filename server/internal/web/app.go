package web

import (
	"net/http"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/provider"
)

// What people have allowed applications: the page and the calls about it.

var errNoApp = admit.NotFound.New("unknown_app", "You have let in no such application.")

// appPages are their paths.
func appPages() map[string]methods {
	return map[string]methods{
		"/account/apps": {"GET": (*call).appsPage, "POST": (*call).appsForm},
	}
}

// appCalls are those of the API.
func appCalls() []operation {
	const p = apiPrefix
	return []operation{{
		call: "GET " + p + "apps", id: "listApps", summary: "The applications that the user has let in", session: true,
		about:   "Last used first. Applications of the service itself are among them, which nobody is asked about, as long as they have a grant that lives.",
		do:      bare((*call).apiApps),
		answers: []answers{{200, "The applications", apps{}}},
	}, {
		call: "DELETE " + p + "apps/{client}", id: "takeBackApp", summary: "Take back what an application was allowed", session: true,
		about:   "Every token that it has of the user ends at once, everywhere. It may ask again.",
		do:      bare((*call).apiTakeBack),
		answers: []answers{{204, "Taken back", nil}},
		refuses: []*admit.Error{errNoApp},
	}}
}

// An App is an application that somebody has let in, as the API shows it.
type App struct {
	ClientID   string    `json:"client_id"`
	Name       string    `json:"name"`
	URI        string    `json:"uri,omitempty" doc:"Where people read about it."`
	FirstParty bool      `json:"first_party" doc:"It is of the service itself, so that nobody was asked."`
	Unverified bool      `json:"unverified" doc:"It has registered itself, and nobody has looked at what it says of itself."`
	Scopes     []string  `json:"scopes"`
	Audiences  []string  `json:"audiences" doc:"The services that it may use."`
	AllowedAt  time.Time `json:"allowed_at"`
	LastUsedAt time.Time `json:"last_used_at" doc:"To the hour."`
}

type apps struct {
	Apps []App `json:"apps"`
}

func appsOf(all []provider.Allowed) []App {
	out := make([]App, len(all))
	for n, a := range all {
		out[n] = App{
			ClientID: a.Client.ID, Name: nameOf(a.Client), URI: a.Client.URI, FirstParty: a.Client.FirstParty, Unverified: a.Client.Unverified(),
			Scopes: append([]string{}, a.Scopes...), Audiences: append([]string{}, a.Audiences...),
			AllowedAt: shown(a.Since), LastUsedAt: shown(a.LastUsed),
		}
	}
	return out
}

// allowed returns what a user has allowed applications.
func (c *call) allowed(subject string) ([]provider.Allowed, error) {
	if c.letsIn == nil {
		return nil, nil
	}
	return c.letsIn.Allowed(c.r.Context(), subject)
}

// takeBack takes back what the user has allowed an application.
func (c *call) takeBack(subject, client string) error {
	if c.letsIn == nil {
		return errNoApp
	}
	there, err := c.letsIn.TakeBack(asked{c.r.Context(), c}, subject, client)
	if err == nil && !there {
		err = errNoApp
	}
	return err
}

func (c *call) apiApps() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	all, err := c.allowed(a.Subject)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, apps{appsOf(all)})
}

func (c *call) apiTakeBack() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	if err := c.takeBack(a.Subject, c.named("client")); err != nil {
		return err
	}
	return c.noContent()
}

// An appRow is one of the applications on the page.
type appRow struct {
	ID, Name, About string
	Ours, Stranger  bool
	May             []permission
	For             []string // services that it may use
	Since, Used     moment
}

func (c *call) appRow(a provider.Allowed) appRow {
	return appRow{
		ID: a.Client.ID, Name: nameOf(a.Client), About: a.Client.URI, Ours: a.Client.FirstParty, Stranger: a.Client.Unverified(),
		May: c.permissions(a.Client, a.Scopes), For: a.Audiences, Since: c.moment(a.Since), Used: c.moment(a.LastUsed),
	}
}

func (c *call) appsPage() error {
	p, i, err := c.member("apps")
	if err != nil {
		return err
	}
	all, err := c.allowed(i.Subject)
	if err != nil {
		return err
	}
	p.Data = c.appRows(all)
	return c.show(http.StatusOK, p)
}

func (c *call) appRows(all []provider.Allowed) (rows []appRow) {
	for _, a := range all {
		rows = append(rows, c.appRow(a))
	}
	return rows
}

// appsForm takes back what the button is about.
func (c *call) appsForm() error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	// What was taken back already is as it was wanted.
	if err := c.takeBack(i.Subject, in.Get("client")); err != nil && admit.KindOf(err) != admit.NotFound {
		return err
	}
	return c.done("app_taken_back", "/account/apps")
}
