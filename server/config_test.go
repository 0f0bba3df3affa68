package server

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
)

func load(t testing.TB, text string, env []string, flags map[string][]string) (Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("admit.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadConfig("admit.yaml", env, flags)
}

func TestFlagGoesBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	const file = "listen: localhost:1\ndata: file\nlog_format: json\n"
	env := []string{"ADMIT_LISTEN=localhost:2", "ADMIT_DATA=env", "HOME=/", "ADMIT_LOG_LEVEL="}
	c, err := load(t, file, env, map[string][]string{"listen": {"localhost:3"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]any{}
	for _, s := range c.Settings() {
		got[s.Name] = [2]any{s.Value, s.Origin}
	}
	for name, want := range map[string][2]any{
		"listen":     {"localhost:3", "--listen"},
		"data":       {"env", "ADMIT_DATA"},
		"log_format": {"json", "admit.yaml:3"},
		"log_level":  {"info", "default"},
		"dev":        {false, "default"},
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

func TestEveryFieldCanBeSetInEveryWay(t *testing.T) {
	values := map[string]string{
		"theme": "t", "listen": "127.0.0.1:80", "data": "d", "database": "postgres://u:p@h/d", "redis": "rediss://u@h:6380/2", "redis_password": "p", "public_url": "https://id.example.org", "cors_origins": "https://a.example,http://localhost:3000",
		"return_hosts": "a.example,[::1]:80", "password_min_length": "15", "ops_listen": "localhost:9090", "log_level": "debug", "log_format": "json", "dev": "true", "dev_key": "k",
		"master_key_file": "f", "master_key_command": "c", "key_rotation": "30", "master_key": "k", "audit_keep": "30d", "factor_loss_delay": "7d",
		"text_budget_hour": "10", "text_budget_day": "50", "text_prices": "49=0.08,1=0.01", "text_budget_dry": "true", "breached_file": "b", "breached_url": "https://range.example.org/range",
		"mail_server": "smtp://user@mail.example.org:587", "mail_from": "no-reply@example.org", "mail_password_file": "f", "mail_password": "p",
		"text_server": "https://sms.example.org/send", "text_from": "admit", "text_secret_file": "f", "text_secret": "s",
		"tls_cert": "c", "tls_key": "k", "acme": "a.example,b.example", "acme_directory": "https://a.example/dir", "listen_http": ":80", "trusted_proxy": "10.0.0.0/8,::1", "max_connections": "100", "client_networks": "10.20.0.0/16,fd12:3456::/32", "client_registration": "token",
		"otlp_endpoint": "http://localhost:4318", "otlp_headers": "a=b", "audiences": "https://api.example.org,files",
		"handover_sites": "shop=https://shop.example.net/arrive", "handover_secrets_file": "f", "handover_secrets": "shop=k",
	}
	var env []string
	var file strings.Builder
	flags := map[string][]string{}
	for _, f := range new(Config).fields() {
		value, ok := values[f.Name]
		if !ok {
			t.Fatalf("the test has no value for %s", f.Name)
		}
		env = append(env, f.Env+"="+value)
		if f.Flag == "" {
			continue
		}
		flags[f.Flag] = []string{value}
		if _, list := f.to.(*[]string); list {
			value = `["` + strings.ReplaceAll(value, ",", `", "`) + `"]`
		}
		file.WriteString(f.Name + ": " + value + "\n")
	}
	secret := []string{"ADMIT_DEV_KEY=k", "ADMIT_MASTER_KEY=k", "ADMIT_OTLP_HEADERS=a=b", "ADMIT_REDIS_PASSWORD=p", "ADMIT_HANDOVER_SECRETS=shop=k", "ADMIT_MAIL_PASSWORD=p", "ADMIT_TEXT_SECRET=s"}
	for name, c := range map[string]func() (Config, error){
		"environment": func() (Config, error) { return load(t, "", env, nil) },
		"file":        func() (Config, error) { return load(t, file.String(), secret, nil) },
		"flags":       func() (Config, error) { return load(t, "", secret, flags) },
	} {
		got, err := c()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v := reflect.ValueOf(got)
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("name") != "" && v.Field(i).IsZero() {
				t.Errorf("%s leaves %s unset", name, v.Type().Field(i).Name)
			}
		}
		if len(got.CORSOrigins) != 2 || len(got.ReturnHosts) != 2 {
			t.Errorf("%s: lists are %q and %q", name, got.CORSOrigins, got.ReturnHosts)
		}
	}
}

func TestMistakesAreRefusedWhereTheyStand(t *testing.T) {
	for _, tt := range []struct {
		name        string
		file        string
		env         string
		flag, value string
		want        error
		says        string // in the error
		hint        string
	}{
		{name: "an unknown key", file: "# hello\nlisen: localhost:1", want: ErrConfigKey, says: "admit.yaml:2: lisen", hint: "did you mean listen?"},
		{name: "a key spelled as a flag", file: "public-url: https://a.example", want: ErrConfigKey, hint: "did you mean public_url?"},
		{name: "a key in capitals", file: "Listen: localhost:1", want: ErrConfigKey, hint: "did you mean listen?"},
		{name: "a merge key", file: "<<: {listen: a}", want: ErrConfigKey},
		{name: "a key that is a list", file: "? [listen]\n: 1", want: ErrConfigKey},
		{name: "a secret in the file", file: "dev_key: hunter2", want: ErrConfigKey, hint: "dev_key is a secret: set ADMIT_DEV_KEY"},
		{name: "an unknown variable", env: "ADMIT_LISTN=localhost:1", want: ErrConfigKey, says: "ADMIT_LISTN", hint: "did you mean ADMIT_LISTEN?"},
		{name: "a misspelled name of the file", env: "ADMIT_CONFG=x", want: ErrConfigKey, hint: "did you mean ADMIT_CONFIG?"},
		{name: "a setting twice", file: "data: a\ndata: b", want: ErrConfigTwice, says: "admit.yaml:2: data", hint: "it stands on line 1 too"},
		{name: "a list for a text", file: "listen: [a]", want: ErrConfigValue, says: "admit.yaml:1: listen", hint: "listen is a host and a port, such as localhost:8080"},
		{name: "a text for a list", file: "cors_origins: https://a.example", want: ErrConfigValue},
		{name: "an audience with a space", file: "audiences: ['https://api.example.org https://b.example']", want: ErrConfigValue},
		{name: "a map for a list", file: "cors_origins: {a: b}", want: ErrConfigValue},
		{name: "a list in a list", file: "cors_origins: [[https://a.example]]", want: ErrConfigValue},
		{name: "nothing", file: "listen:", want: ErrConfigValue},
		{name: "an alias", file: "data: &a x\nlisten: *a", want: ErrConfigValue, says: "admit.yaml:2"},
		{name: "yes for true", file: "dev: yes", want: ErrConfigValue, hint: "dev is true or false"},
		{name: "a word for a number", env: "ADMIT_PASSWORD_MIN_LENGTH=ten", want: ErrConfigValue, says: "ADMIT_PASSWORD_MIN_LENGTH", hint: "password_min_length is a whole number from 8 to 64"},
		{name: "a minimum below the standard's", flag: "password-min-length", value: "7", want: ErrConfigValue, says: `--password-min-length`},
		{name: "a level that is none", flag: "log-level", value: "loud", want: ErrConfigValue, says: `"loud"`, hint: "log_level is debug, info, warn or error"},
		{name: "an address without a port", flag: "listen", value: "localhost", want: ErrConfigValue},
		{name: "a port that is too large", flag: "listen", value: "localhost:65536", want: ErrConfigValue},
		{name: "an empty address", flag: "listen", value: "", want: ErrConfigValue},
		{name: "no folder", file: `data: ""`, want: ErrConfigValue},
		{name: "a public URL over http", flag: "public-url", value: "http://a.example", want: ErrConfigValue},
		{name: "a public URL with a path", flag: "public-url", value: "https://a.example/x", want: ErrConfigValue},
		{name: "a public URL with a user", flag: "public-url", value: "https://u@a.example", want: ErrConfigValue},
		{name: "a public URL in capitals", flag: "public-url", value: "https://A.example", want: ErrConfigValue},
		{name: "every origin", flag: "cors-origins", value: "*", want: ErrConfigValue},
		{name: "an origin with the port that browsers leave out", flag: "cors-origins", value: "https://a.example:443", want: ErrConfigValue},
		{name: "an origin over http off loopback", flag: "cors-origins", value: "http://a.example", want: ErrConfigValue},
		{name: "a host that is a URL", flag: "return-hosts", value: "https://a.example", want: ErrConfigValue},
		{name: "a host with a wildcard", flag: "return-hosts", value: "*.example", want: ErrConfigValue},
		{name: "no settings", file: "- listen", want: ErrConfigFile, says: "admit.yaml:1"},
		{name: "no YAML", file: "data: a\nlisten: [", want: ErrConfigFile, says: "line 2"},
		{name: "two documents", file: "data: a\n---\ndata: b", want: ErrConfigFile},
		{name: "a file that is not there", env: "ADMIT_CONFIG=none.yaml", want: ErrConfigFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flags := map[string][]string{}
			if tt.flag != "" {
				flags[tt.flag] = []string{tt.value}
			}
			_, err := load(t, tt.file, []string{tt.env}, flags)
			if strings.HasPrefix(tt.env, "ADMIT_CONFIG=") {
				_, err = LoadConfig("", []string{tt.env}, nil)
			}
			if !errors.Is(err, tt.want) || !errors.Is(err, admit.Invalid) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
			if e, _ := errors.AsType[*admit.Error](err); tt.hint != "" && e.Hint() != tt.hint {
				t.Errorf("hint is %q, want %q", e.Hint(), tt.hint)
			}
		})
	}
}

func TestServiceLinksOfKubernetesAreNoSettings(t *testing.T) {
	env := []string{"ADMIT_PORT=tcp://10.0.0.1:80", "ADMIT_PORT_80_TCP_ADDR=10.0.0.1", "ADMIT_SERVICE_HOST=10.0.0.1"}
	if _, err := LoadConfig("", env, nil); err != nil {
		t.Error(err)
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want error
	}{
		{"nothing set, for programs that mount the handler", Config{}, nil},
		{"the defaults", DefaultConfig(), nil},
		{"development", Config{Listen: "localhost:8080", Dev: true}, nil},
		{"a proxy on this machine", Config{Listen: "[::1]:80", PublicURL: "https://a.example", TrustedProxy: []string{"::1"}}, nil},
		{"a proxy elsewhere", Config{Listen: ":80", PublicURL: "https://a.example", TrustedProxy: []string{"10.0.0.0/8"}}, nil},
		{"a proxy that is not named", Config{Listen: "[::1]:80", PublicURL: "https://a.example"}, ErrConfigProxy},
		{"clients in a network of one's own", Config{ClientNetworks: []string{"10.20.0.0/16", "fd12::1"}}, nil},
		{"clients on this machine", Config{ClientNetworks: []string{"127.0.0.0/8"}}, ErrConfigValue},
		{"clients where a cloud tells its secrets", Config{ClientNetworks: []string{"169.254.0.0/16"}}, ErrConfigValue},
		{"clients everywhere", Config{ClientNetworks: []string{"8.0.0.0/5"}}, ErrConfigValue},
		{"clients where somebody else is", Config{ClientNetworks: []string{"8.8.8.8"}}, ErrConfigValue},
		{"clients by another spelling", Config{ClientNetworks: []string{"::ffff:127.0.0.1"}}, ErrConfigValue},
		{"a proxy without a public URL", Config{Listen: ":80", TrustedProxy: []string{"10.0.0.1"}}, ErrConfigProxy},
		{"everybody as the proxy", Config{PublicURL: "https://a.example", TrustedProxy: []string{"0.0.0.0/0"}}, ErrConfigValue},
		{"everybody by another spelling", Config{PublicURL: "https://a.example", TrustedProxy: []string{"::ffff:0.0.0.0/96"}}, ErrConfigValue},
		{"an own certificate", Config{Listen: ":443", PublicURL: "https://a.example", TLSCert: "c", TLSKey: "k", ListenHTTP: ":80"}, nil},
		{"an own certificate on this machine", Config{Listen: "localhost:443", TLSCert: "c", TLSKey: "k"}, nil},
		{"an own certificate for nobody knows where", Config{Listen: ":443", TLSCert: "c", TLSKey: "k"}, ErrConfigTLS},
		{"a certificate without a key", Config{TLSCert: "c"}, ErrConfigTLS},
		{"a key without a certificate", Config{TLSKey: "k"}, ErrConfigTLS},
		{"ACME", Config{Listen: ":443", ACME: []string{"a.example"}, ListenHTTP: ":80"}, nil},
		{"ACME for another host", Config{Listen: ":443", ACME: []string{"a.example"}, PublicURL: "https://b.example"}, ErrConfigTLS},
		{"ACME for an address", Config{ACME: []string{"192.0.2.1"}}, ErrConfigValue},
		{"ACME for a host without a dot", Config{ACME: []string{"localhost"}}, ErrConfigValue},
		{"ACME and an own certificate", Config{ACME: []string{"a.example"}, TLSCert: "c", TLSKey: "k"}, ErrConfigTLS},
		{"plain HTTP that leads nowhere", Config{Listen: "localhost:1", ListenHTTP: ":80"}, ErrConfigTLS},
		{"development with a certificate", Config{Listen: "localhost:443", Dev: true, TLSCert: "c", TLSKey: "k"}, ErrConfigDev},
		{"development with a public URL", Config{Listen: "localhost:8080", Dev: true, PublicURL: "https://a.example"}, ErrConfigDev},
		{"development in a program that says where it listens", Config{Dev: true, PublicURL: "http://localhost:3000"}, nil},
		{"development in a program, with a public URL", Config{Dev: true, PublicURL: "https://a.example"}, ErrConfigDev},
		{"development at an address of its own, with another", Config{Listen: "localhost:8080", Dev: true, PublicURL: "http://localhost:3000"}, ErrConfigDev},
		{"plain HTTP in public", Config{PublicURL: "http://localhost:3000"}, ErrConfigValue},
		{"development off loopback", Config{Listen: "0.0.0.0:8080", Dev: true}, ErrConfigDev},
		{"plain HTTP on every address", Config{Listen: ":8080"}, ErrConfigExposed},
		{"plain HTTP off loopback", Config{Listen: "192.0.2.1:8080", PublicURL: "https://a.example"}, ErrConfigExposed},
		{"a name that is not localhost", Config{Listen: "localhost.example:8080"}, ErrConfigExposed},
		{"a public URL that is none", Config{PublicURL: "a.example"}, ErrConfigValue},
		{"a short minimum", Config{PasswordMinLength: 4}, ErrConfigValue},
		{"a log format that is none", Config{LogFormat: "xml"}, ErrConfigValue},
	} {
		if err := tt.cfg.Check(); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestAPrintedConfigurationReadsBack(t *testing.T) {
	want, err := load(t, "data: 'a: #b'\ncors_origins: [https://a.example]", []string{"ADMIT_DEV_KEY=hunter2"}, map[string][]string{"dev": {"true"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := want.Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("a secret is printed:\n%s", &out)
	}
	for _, line := range []string{"listen: localhost:8080 # default\n", "cors_origins: ['https://a.example'] # admit.yaml:2\n", "dev: true # --dev\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, &out)
		}
	}
	got, err := load(t, out.String(), []string{"ADMIT_DEV_KEY=hunter2"}, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, &out)
	}
	got.origins, want.origins = nil, nil
	for _, c := range []*Config{&got, &want} { // nil and empty are one
		c.ReturnHosts, c.ACME, c.TrustedProxy, c.ClientNetworks, c.Audiences, c.HandoverSites, c.TextPrices = nil, nil, nil, nil, nil, nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestACMESetsWhereToListenAndWhatTheServerIsCalled(t *testing.T) {
	for _, tt := range []struct{ name, file, listen, http, url string }{
		{"nothing else", "acme: [id.example.org, www.example.org]", ":443", ":80", "https://id.example.org"},
		{"another port", "acme: [id.example.org]\nlisten: :8443", ":8443", ":80", "https://id.example.org:8443"},
		{"no plain HTTP", "acme: [id.example.org]\nlisten_http: ''", ":443", "", "https://id.example.org"},
		{"behind another port", "acme: [id.example.org]\nlisten: :8443\npublic_url: https://id.example.org", ":8443", ":80", "https://id.example.org"},
		{"no ACME", "data: x", "localhost:8080", "", ""},
	} {
		c, err := load(t, tt.file, nil, nil)
		if err != nil || c.Check() != nil {
			t.Errorf("%s: %v, %v", tt.name, err, c.Check())
		}
		if c.Listen != tt.listen || c.ListenHTTP != tt.http || c.PublicURL != tt.url {
			t.Errorf("%s: listens on %q and %q as %q, want %q, %q and %q", tt.name, c.Listen, c.ListenHTTP, c.PublicURL, tt.listen, tt.http, tt.url)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{
		"", "listen: localhost:1\ndata: x", "cors_origins: [https://a.example]", "dev: true", "a: &a [*a]", "? {}\n: x", "listen: \"\\xff\"", "---\n...\n---", "!!binary x: y", "\t",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := DefaultConfig()
		c.origins = map[string]string{}
		if errs := c.read("f", []byte(text)); len(errs) > 0 {
			return
		}
		var out bytes.Buffer
		if err := c.Print(&out); err != nil {
			t.Fatal(err)
		}
		back := DefaultConfig()
		back.origins = map[string]string{}
		if err := errors.Join(back.read("g", out.Bytes())...); err != nil {
			t.Fatalf("%q is read, but not when printed: %v\n%s", text, err, &out)
		}
		for i, s := range back.Settings() {
			if was := c.Settings()[i]; !reflect.DeepEqual(s.Value, was.Value) {
				t.Errorf("%s was %q, reads back as %q", s.Name, was.Value, s.Value)
			}
		}
	})
}

// A configuration is shown to whoever looks for a mistake in it.
func TestThePasswordOfADatabaseIsNotShown(t *testing.T) {
	for _, text := range []string{"postgres://u:sesame@h/d", "postgres://u@h/d?password=sesame", "postgres://u@h/d?sslkey=k&sslcert=c&sslpassword=sesame", "postgres://u:sesame@h/d?password=sesame&sslmode=require"} {
		var out strings.Builder
		c := Config{Database: text}
		if err := c.Print(&out); err != nil || strings.Contains(out.String(), "sesame") || !strings.Contains(out.String(), "xxxxx") {
			t.Errorf("%v: %s", err, out.String())
		}
		c.Database = text + "\x7f"
		if err := c.Check(); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("a refusal: %v", err)
		}
	}
}
