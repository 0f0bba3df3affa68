package relying

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// The lines that docs/how-to/put-apache-or-nginx-in-front.md gives. Of the directives that
// are about the provider one is no default: by itself this version sends no PKCE, which is
// demanded.
const apacheLines = `
OIDCProviderMetadataURL %[1]s/.well-known/openid-configuration
OIDCClientID %[2]s
OIDCClientSecret %[3]s
OIDCRedirectURI %[4]s/oidc/callback
OIDCCryptoPassphrase %[5]s
OIDCScope "openid profile"
OIDCPKCEMethod S256

<Location />
	AuthType openid-connect
	Require valid-user
	ProxyPass http://127.0.0.1:%[6]s/
</Location>
<Location /oidc>
	ProxyPass !
</Location>
<Location /signed-out>
	Require all granted
</Location>
`

// fresh makes it refresh for each request to some place.
const fresh = `
<Location /profile>
	OIDCRefreshAccessTokenBeforeExpiry 60
</Location>
`

// apache is Apache in front of a service that knows nothing of sign-ins.
func apache(t testing.TB, h *house, id string) *app {
	t.Helper()
	program := find(t, "apache2")
	const modules = "/usr/lib/apache2/modules"
	if _, err := os.Stat(modules + "/mod_auth_openidc.so"); err != nil {
		missing(t, "mod_auth_openidc")
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("OIDC_CLAIM_sub"), r.Header.Get("OIDC_CLAIM_name"))
	}))
	t.Cleanup(service.Close)
	port, dir := freePort(t), t.TempDir()
	a := &app{url: "http://127.0.0.1:" + port, signIn: "/", profile: "/profile", gone: "/signed-out"}
	secret := h.client(t, id, "--grant", "authorization_code,refresh_token", "--redirect", a.url+"/oidc/callback", "--post-logout", a.url+"/signed-out",
		"--backchannel-logout", a.url+"/oidc/callback?logout=backchannel", "--access-ttl", "10s")
	text := fmt.Sprintf(`
ServerRoot %[1]s
ServerName 127.0.0.1
Listen 127.0.0.1:%[2]s
PidFile %[1]s/pid
ErrorLog /dev/stderr
DocumentRoot %[1]s
Mutex file:%[1]s default
`, dir, port)
	for _, name := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "auth_openidc"} {
		text += fmt.Sprintf("LoadModule %s_module %s/mod_%[1]s.so\n", name, modules)
	}
	if os.Getuid() == 0 {
		text += "User www-data\nGroup www-data\n"
		for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
			if err := os.Chmod(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	text += fmt.Sprintf(apacheLines, h.url, id, secret, a.url, "a-passphrase-of-the-test", service.URL[len("http://127.0.0.1:"):]) + fresh
	file := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, []string{"LANG=C"}, program, "-f", file, "-DFOREGROUND")
	t.Cleanup(p.stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Apache says:\n%s", p.log())
		}
	})
	reachable(t, p, "127.0.0.1:"+port)
	a.signOut = func(p *person) {
		p.t.Helper()
		p.open(a.url + "/oidc/callback?logout=" + url.QueryEscape(a.url+"/signed-out"))
	}
	return a
}
