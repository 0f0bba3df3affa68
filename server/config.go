package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/notify"
	"github.com/admit-auth/admit/server/internal/otlp"
	"go.yaml.in/yaml/v3"
)

// A Config is all that can be set. DefaultConfig and LoadConfig return a whole
// one. A program that writes one itself names the Data folder; other zero fields
// are the default, but without Listen nothing is listened on. With Dev such a
// program says as PublicURL where it listens, such as http://localhost:3000.
//
// The tags are the one place where a setting is described: its name in the
// file, the flag (public_url: --public-url), the variable (ADMIT_PUBLIC_URL),
// the help texts, the reference page, and whether Reload takes it are made of them.
type Config struct {
	Listen            string     `name:"listen" arg:"ADDR" help:"address to listen on; localhost is both 127.0.0.1 and ::1"`
	Data              string     `name:"data" arg:"DIR" help:"folder of the database and the keys, made on the first start"`
	Database          string     `name:"database" arg:"URL" help:"PostgreSQL database that servers share, such as postgres://admit@db.example.org/admit, in place of SQLite in the data folder; its password may stand in PGPASSWORD or ~/.pgpass"`
	Redis             string     `name:"redis" arg:"URL" help:"Redis or Valkey that keeps copies of sessions and API keys, so that look-ups spare the database, such as redis://cache.example.org:6379, or rediss:// for TLS; it may forget or stop at any time"`
	PublicURL         string     `name:"public_url" arg:"URL" help:"https origin that people see, such as https://id.example.org; without one it is http://localhost with the port"`
	CORSOrigins       []string   `name:"cors_origins" live:"yes" arg:"ORIGIN" help:"origins whose pages may call /api/v1 with tokens in a header"`
	ReturnHosts       []string   `name:"return_hosts" live:"yes" arg:"HOST" help:"hosts that return_to may lead to, beside our own"`
	ClientNetworks    []string   `name:"client_networks" arg:"CIDR" help:"private networks in which applications are at home, such as 10.20.0.0/16: their keys are fetched there, and they are told there of sign-outs; all others are at public addresses"`
	Registration      string     `name:"client_registration" arg:"WHO" help:"who may register applications at /oauth/register: off, nobody but administrators; token, who has an invite that admit client invite makes; open, any stranger, of whom people are told that nobody knows him"`
	Audiences         []string   `name:"audiences" arg:"URL" help:"who the JWTs of a sign-in are for, such as https://api.example.org; without any, the public URL"`
	Theme             string     `name:"theme" live:"yes" arg:"DIR" help:"folder with a name, colours, a logo, texts and templates of your own, for the pages; read again on SIGHUP"`
	TextBudgetHour    string     `name:"text_budget_hour" arg:"MONEY" help:"what text messages with codes may cost in an hour of the clock, in the unit of text_prices; 0 bounds nothing"`
	TextBudgetDay     string     `name:"text_budget_day" arg:"MONEY" help:"what they may cost in 24 hours; 0 is 24 times the hour"`
	TextPrices        []string   `name:"text_prices" arg:"CODE=PRICE" help:"what a text costs, by country code without the plus, such as 1=0.008; ours are about those of 2026 in US dollars, and 0.30 for other countries"`
	TextBudgetDry     bool       `name:"text_budget_dry" help:"refuse no text for its budget: the log and the metrics tell what would be"`
	PasswordMinLength int        `name:"password_min_length" live:"yes" arg:"N" help:"fewest characters of a new password, 8 to 64; NIST SP 800-63B-4 asks for 15 where a password is the only factor"`
	BreachedFile      string     `name:"breached_file" live:"yes" arg:"FILE" help:"filter of breached passwords, which admit password import-breached makes; without one, breached.filter in the data folder, if it is there"`
	BreachedURL       string     `name:"breached_url" live:"yes" arg:"URL" help:"service that is asked whether a new password is breached, by the first five digits of its SHA-1, such as https://api.pwnedpasswords.com/range; nobody is asked without one"`
	AuditKeep         string     `name:"audit_keep" arg:"DAYS" help:"how long records of the audit are kept, in days, such as 400d; 0 is for ever"`
	FactorLossDelay   string     `name:"factor_loss_delay" arg:"DAYS" help:"how long people wait who have lost every second factor before they can remove them by mail, in days, such as 3d; they are told meanwhile, and can stop it"`
	OpsListen         string     `name:"ops_listen" arg:"ADDR" help:"address of a second listener with /metrics, /healthz and /readyz, without a password: loopback or of a private network"`
	OTLPEndpoint      string     `name:"otlp_endpoint" arg:"URL" help:"OpenTelemetry collector that traces are sent to, by OTLP over HTTP, such as http://localhost:4318; without one tracing costs nothing; OTEL_EXPORTER_OTLP_ENDPOINT is taken where this is not set" standard:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	LogLevel          slog.Level `name:"log_level" live:"yes" arg:"LEVEL" help:"what to log: debug, info, warn or error"`
	LogFormat         string     `name:"log_format" arg:"FORMAT" help:"how to log: text or json"`
	MasterKeyFile     string     `name:"master_key_file" arg:"FILE" help:"file of the master key, which seals the server's own keys; base64 of 32 bytes or more, as admit cookie keygen writes it"`
	MasterKeyCommand  string     `name:"master_key_command" arg:"COMMAND" help:"program that writes the master key, with its arguments, parted at spaces; run at start, for 30 seconds at most, without a shell"`
	KeyRotation       string     `name:"key_rotation" arg:"DAYS" help:"days after which another key seals or signs, and the old one only opens or verifies what it made; 0 is never"`
	Dev               bool       `name:"dev" help:"development: mail and text messages go to an inbox on a page, every page has a banner; only on a loopback address, never with a public URL"`

	// How it reaches people.
	MailServer       string `name:"mail_server" arg:"URL" help:"server that mail is handed to, such as smtp://user@mail.example.org:587, where STARTTLS is demanded; smtps:// for TLS from the first byte; smtp:// to this machine and smtp+insecure:// have none"`
	MailFrom         string `name:"mail_from" arg:"ADDRESS" help:"whom mail is from, such as Example <no-reply@example.org>"`
	MailPasswordFile string `name:"mail_password_file" arg:"FILE" help:"file with the password of the mail server's user"`
	TextServer       string `name:"text_server" arg:"URL" help:"where text messages are posted to: an https:// webhook of yours, or twilio://ACCOUNT@api.twilio.com of who speaks as Twilio does"`
	TextFrom         string `name:"text_from" arg:"SENDER" help:"whom text messages are from: a number such as +15005550006, a name, or the id of a messaging service of Twilio"`
	TextSecretFile   string `name:"text_secret_file" arg:"FILE" help:"file with the secret that signs what is posted to the webhook, 24 bytes or more, or with Twilio's token"`

	// How strangers reach it.
	TLSCert        string   `name:"tls_cert" arg:"FILE" help:"certificate for HTTPS, PEM with its chain; read again when it changes"`
	TLSKey         string   `name:"tls_key" arg:"FILE" help:"private key of the certificate, PEM"`
	ACME           []string `name:"acme" arg:"DOMAIN" help:"domains to get certificates for, from Let's Encrypt, whose terms are accepted by that; listen is :443 then, listen_http :80, and public_url the first domain"`
	ACMEDirectory  string   `name:"acme_directory" arg:"URL" help:"another authority that speaks ACME"`
	ListenHTTP     string   `name:"listen_http" arg:"ADDR" help:"address where plain HTTP is redirected to HTTPS"`
	TrustedProxy   []string `name:"trusted_proxy" arg:"CIDR" help:"addresses or networks of the proxies in front, whose X-Forwarded-For and -Proto are believed; nobody else may ask then but programs of this machine"`
	MaxConnections int      `name:"max_connections" arg:"N" help:"most connections open at once; one address has a sixteenth of them"`

	// Sites on other domains that may take sign-ins over.
	HandoverSites       []string     `name:"handover_sites" live:"yes" arg:"NAME=URL" help:"sites on other domains that may take sign-ins over, each with the one URL where browsers arrive, such as shop=https://shop.example.net/arrive"`
	HandoverSecretsFile string       `name:"handover_secrets_file" live:"yes" arg:"FILE" help:"file of the secrets of handover_sites, a line NAME=SECRET for each, of 32 characters or more; read again on SIGHUP"`
	HandoverSecrets     admit.Secret `name:"handover_secrets" arg:"NAME=SECRET" help:"the secrets of handover_sites, with spaces between; a file shows them to fewer"`

	// Secrets come from the environment alone: other users of the machine can
	// list command lines, and files are copied.
	MasterKey     admit.Secret `name:"master_key" arg:"KEY" help:"the master key itself; a file or a command shows it to fewer"`
	MailPassword  admit.Secret `name:"mail_password" arg:"PASSWORD" help:"password of the mail server's user; a file shows it to fewer"`
	TextSecret    admit.Secret `name:"text_secret" arg:"SECRET" help:"secret of the webhook, or Twilio's token; a file shows it to fewer"`
	RedisPassword admit.Secret `name:"redis_password" arg:"PASSWORD" help:"password for --redis"`
	OTLPHeaders   admit.Secret `name:"otlp_headers" arg:"HEADERS" help:"headers for the collector, name=value with commas between; OTEL_EXPORTER_OTLP_HEADERS is taken where this is not set" standard:"OTEL_EXPORTER_OTLP_HEADERS"`
	DevKey        admit.Secret `name:"dev_key" arg:"KEY" help:"opens the inbox of --dev; without one each start makes its own"`

	Log *slog.Logger // for programs; default: LogLevel and LogFormat on standard error

	// Tracer, for programs, gets the spans in place of a collector. Most programs
	// set OTLPEndpoint.
	Tracer Tracer

	// FeedFollower, for programs, says with what audiences a request may follow
	// the feed without an API key, or why not: a service that has proved itself by
	// a certificate, for instance. Most programs never set it.
	FeedFollower func(*http.Request) (audiences []string, err error)

	// Again reads the configuration as it stands now, for Operator.Reload. Without
	// it a running server cannot be asked to.
	Again func() (Config, error)

	// Hashers is a command that calls ServeHashes: the server runs it where it
	// hashes passwords, once for each that is hashed at the same time. Without one
	// it hashes in its own process.
	Hashers []string

	origins map[string]string // where the values that are not defaults come from
}

// Why a configuration is refused. Errors also say where the value stands.
var (
	ErrConfigFile    = admit.Invalid.New("config_unreadable", "The configuration file cannot be read.").WithHint("look at its name and its form; admit config print writes one")
	ErrConfigKey     = admit.Invalid.New("unknown_config_key", "There is no such setting.")
	ErrConfigTwice   = admit.Invalid.New("duplicate_config_key", "A setting stands twice.")
	ErrConfigValue   = admit.Invalid.New("bad_config_value", "A setting cannot have this value.")
	ErrConfigDev     = admit.Invalid.New("dev_exposed", "Development is for this machine alone: it cannot be had with a public URL, a certificate or a proxy, nor off loopback.").WithHint("leave one of them out")
	ErrConfigExposed = admit.Invalid.New("plain_http_exposed", "Plain HTTP is spoken on a loopback address only.").WithHint("for HTTPS give --tls-cert and --tls-key, or --acme with a domain; behind a proxy that speaks it, --trusted-proxy with the proxy's address and --public-url; or listen on localhost")
	ErrConfigTLS     = admit.Invalid.New("tls_contradiction", "The settings of HTTPS do not fit together.")
	ErrConfigProxy   = admit.Invalid.New("proxy_contradiction", "The settings of the proxy in front do not fit together.")
	ErrConfigOps     = admit.Invalid.New("operations_exposed", "The operations listener must not be reachable by the public.").WithHint("listen on localhost or on an address of a private network, such as 10.0.0.5:9090")
)

// Who may register applications.
const (
	RegistrationOff   = "off"
	RegistrationToken = "token"
	RegistrationOpen  = "open"
)

// DefaultConfig returns what holds where nothing is set.
func DefaultConfig() Config {
	return Config{
		Listen:            "localhost:8080",
		Data:              "./admit-data",
		PasswordMinLength: 8, // ASVS 6.2.1
		LogFormat:         "text",
		Registration:      RegistrationOff,
		TextBudgetHour:    "20",
		TextBudgetDay:     "100",
		KeyRotation:       strconv.Itoa(defaultKeyDays),
		MaxConnections:    defaultConnections,
		AuditKeep:         "400d", // a year can be compared with the one before
		FactorLossDelay:   "3d",   // a weekend
	}
}

// auditKeep returns how many days records of the audit are kept; 0 is for ever.
func (c Config) auditKeep() int {
	text := cmp.Or(c.AuditKeep, DefaultConfig().AuditKeep)
	n, _ := strconv.Atoi(strings.TrimSuffix(text, "d")) // Check has seen it
	return n
}

// factorLossDelay returns how long people wait who have lost their factors.
func (c Config) factorLossDelay() time.Duration {
	text := cmp.Or(c.FactorLossDelay, DefaultConfig().FactorLossDelay)
	n, _ := strconv.Atoi(strings.TrimSuffix(text, "d")) // Check has seen it
	return time.Duration(n) * 24 * time.Hour
}

// LoadConfig returns the configuration: a flag goes before a variable of the
// environment, that before the file, that before the default. File is a path,
// "" if ADMIT_CONFIG may name it; env is what os.Environ returns, flags the
// flags that were given, by their names. It does not look for contradictions:
// Check does.
func LoadConfig(file string, env []string, flags map[string][]string) (Config, error) {
	c, errs := loadConfig(file, env, flags)
	if len(errs) > 0 {
		return Config{}, errs[0]
	}
	return c, nil
}

// CheckConfig returns all that is wrong with what LoadConfig would read, and
// with what stands there together, in the folder of the theme, or in the file of
// the sites' secrets.
func CheckConfig(file string, env []string, flags map[string][]string) []error {
	c, errs := loadConfig(file, env, flags)
	for _, f := range c.fields() {
		for _, text := range f.texts() {
			if err := f.check(f.where(), text); err != nil {
				return append(errs, err) // a default
			}
		}
	}
	for _, err := range []error{c.Check(), tryTheme(c.Theme)} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 { // of a site that was refused the secret would be another mistake
		if _, err := c.sites(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// loadConfig goes on after a mistake, so that all are found; the setting then
// keeps what it had.
func loadConfig(file string, env []string, flags map[string][]string) (c Config, errs []error) {
	c = DefaultConfig()
	c.origins = map[string]string{}
	variables, standard := map[string]string{}, map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "OTEL_") {
			standard[name] = value
		}
		// Kubernetes gives its pods ADMIT_PORT and ADMIT_SERVICE_… where a
		// service is named admit.
		if strings.HasPrefix(name, "ADMIT_") && !strings.HasPrefix(name+"_", "ADMIT_PORT_") && !strings.HasPrefix(name, "ADMIT_SERVICE_") {
			variables[name] = value
		}
	}
	if file == "" {
		file = variables["ADMIT_CONFIG"]
	}
	delete(variables, "ADMIT_CONFIG")
	if file != "" {
		errs = c.readFile(file)
	}
	fields := c.fields()
	for _, f := range fields {
		if value := variables[f.Env]; value != "" {
			if err := c.set(f, f.Env, f.split(value)); err != nil {
				errs = append(errs, err)
			}
		}
		if value := standard[f.standard]; value != "" && c.origins[f.Name] == "" && standard["OTEL_SDK_DISABLED"] != "true" {
			if err := c.set(f, f.standard, f.split(value)); err != nil {
				errs = append(errs, err)
			}
		}
		delete(variables, f.Env)
		if values := flags[f.Flag]; len(values) > 0 {
			if err := c.set(f, "--"+f.Flag, f.split(values...)); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		known := append(fields, field{Setting: Setting{Name: "config", Env: "ADMIT_CONFIG"}})
		hint := allKeys
		if f, near := nearest(known, strings.TrimPrefix(name, "ADMIT_")); near {
			hint = "did you mean " + f.Env + "?"
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, ErrConfigKey.WithHint(hint)))
	}
	c.followACME()
	return c, errs
}

// A Setting is one field of a Config as people write it.
type Setting struct {
	Name   string `json:"name"` // in the file: "public_url"
	Flag   string `json:"-"`    // "public-url"; "" where it may be no flag, nor in the file
	Env    string `json:"-"`    // "ADMIT_PUBLIC_URL"
	Arg    string `json:"-"`    // what a value is, in one word; "" for a switch
	Help   string `json:"-"`
	Live   bool   `json:"-"`      // Reload takes it while the server runs
	Value  any    `json:"value"`  // text, a list of text, a number or a bool
	Origin string `json:"origin"` // "default", "admit.yaml:3", "ADMIT_DATA" or "--data"
}

// Settings returns what is set, in the order of the fields.
func (c Config) Settings() []Setting {
	var all []Setting
	for _, f := range c.fields() {
		all = append(all, f.Setting)
	}
	return all
}

// Print writes the configuration as a file that LoadConfig reads, with the
// origin of each value. Secrets are not written.
func (c Config) Print(w io.Writer) error {
	doc := yaml.Node{Kind: yaml.MappingNode}
	for _, f := range c.fields() {
		if f.Flag == "" {
			continue
		}
		var value yaml.Node
		if err := value.Encode(f.Value); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle
		}
		value.LineComment = f.Origin
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}, &value)
	}
	out := yaml.NewEncoder(w)
	if err := out.Encode(&doc); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return out.Close()
}

// Check reports values that cannot be, and values that cannot be together.
func (c Config) Check() error {
	for _, f := range c.fields() {
		for _, text := range f.texts() {
			if err := f.check(f.where(), text); err != nil {
				return err
			}
		}
	}
	if c.masterSources() > 1 {
		return ErrMasterSources
	}
	if _, err := otlp.ParseHeaders(c.OTLPHeaders.Reveal()); err != nil {
		return fmt.Errorf("otlp_headers: %w: %w", ErrConfigValue.WithHint("otlp_headers is a list such as api-key=1234,tenant=blue, each part percent-encoded"), err)
	}
	if _, err := c.textBudget(); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(c.OpsListen); c.OpsListen != "" && !isPrivate(host) {
		return fmt.Errorf("%s: %w", c.OpsListen, ErrConfigOps)
	}
	if err := c.checkSenders(); err != nil {
		return err
	}
	return c.checkEdge()
}

// A field is a Setting and where its value is kept.
type field struct {
	Setting
	to       any    // pointer into the Config
	standard string // variable that other programs read too, and that counts least
}

func (c *Config) fields() []field {
	var all []field
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("name")
		if name == "" {
			continue
		}
		f := field{to: v.Field(i).Addr().Interface(), standard: tag.Get("standard"), Setting: Setting{
			Name:   name,
			Flag:   strings.ReplaceAll(name, "_", "-"),
			Env:    "ADMIT_" + strings.ToUpper(name),
			Arg:    tag.Get("arg"),
			Help:   tag.Get("help"),
			Live:   tag.Get("live") == "yes",
			Origin: c.origins[name],
		}}
		if f.Origin == "" {
			f.Origin = "default"
		}
		switch to := f.to.(type) {
		case *[]string:
			f.Value = append([]string{}, *to...)
		case *slog.Level:
			f.Value = strings.ToLower(to.String())
		case *admit.Secret:
			f.Flag = ""
			f.Value = ""
			if !to.IsZero() {
				f.Value = to.String()
			}
		default:
			f.Value = v.Field(i).Interface()
			if name == "database" {
				f.Value = withoutPassword(c.Database)
			}
		}
		all = append(all, f)
	}
	return all
}

// where says which value is meant.
func (f *field) where() string {
	switch f.Origin {
	case "default":
		return f.Name
	case f.Env, "--" + f.Flag:
		return f.Origin
	}
	return f.Origin + ": " + f.Name // in a file
}

// texts returns the value as it would be written, nothing where it is zero.
func (f *field) texts() []string {
	switch to := f.to.(type) {
	case *[]string:
		return *to
	case *string, *int:
		if text := fmt.Sprint(f.Value); text != "" && text != "0" {
			return []string{text}
		}
	case *slog.Level:
		return []string{fmt.Sprint(f.Value)}
	}
	return nil
}

// set gives a field its value; a list has one text for each element.
func (c *Config) set(f field, origin string, texts []string) error {
	f.Origin = origin
	for _, text := range texts {
		if err := f.check(f.where(), text); err != nil {
			return err
		}
	}
	c.origins[f.Name] = origin
	if list, is := f.to.(*[]string); is {
		*list = texts
		return nil
	}
	switch text := texts[len(texts)-1]; to := f.to.(type) {
	case *string:
		*to = text
	case *bool:
		*to = text == "true"
	case *int:
		*to, _ = strconv.Atoi(text)
	case *slog.Level:
		return to.UnmarshalText([]byte(text))
	case *admit.Secret:
		*to = admit.NewSecret(text)
	}
	return nil
}

// split parts the elements of a list that is written in one text.
func (f *field) split(values ...string) []string {
	if _, list := f.to.(*[]string); list {
		return strings.Split(strings.Join(values, ","), ",")
	}
	return values
}

// Check reports whether text may be the setting's value, or an element of it.
func (s Setting) Check(text string) error { return s.check("--"+s.Flag, text) }

func (s *Setting) check(where, text string) error {
	ok, want := s.rule(text)
	if ok {
		return nil
	}
	err := ErrConfigValue.WithHint(s.Name + " is " + want)
	if slices.Contains([]string{"database", "redis", "mail_server", "text_server"}, s.Name) { // there may be a password in it
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s: %w: %q", where, err, text)
}

// withoutPassword is the URL of a database as it may be shown.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "xxxxx"
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
			u.RawQuery = q.Encode()
		}
	}
	return u.Redacted()
}

// database is where it is: the URL, or a file.
func (c Config) database() string {
	return cmp.Or(c.Database, filepath.Join(c.Data, databaseName))
}

// rule says whether text may be a value, and what may be.
func (s *Setting) rule(text string) (ok bool, want string) {
	switch s.Name {
	case "listen", "listen_http", "ops_listen":
		host, port, err := net.SplitHostPort(text)
		_, bad := strconv.ParseUint(port, 10, 16)
		none := text == "" && s.Name != "listen"
		return none || err == nil && bad == nil && strings.Trim(host, "/") == host, "a host and a port, such as localhost:8080"
	case "data":
		return text != "" && !strings.Contains(text, "\x00"), "a path"
	case "database":
		return text == "" || db.CheckURL(text) == nil, "a URL, such as postgres://admit@db.example.org/admit"
	case "redis":
		return text == "" || isRedis(text), "a URL, such as redis://cache.example.org:6379, redis://user@cache.example.org or rediss:// for TLS; a password goes into ADMIT_REDIS_PASSWORD"
	case "public_url":
		return text == "" || isOrigin(text, "https") || isOrigin(text, "http"), "an https origin without a path, such as https://id.example.org"
	case "cors_origins":
		return isOrigin(text, "https") || isOrigin(text, "http"), "a list of exact origins, such as https://app.example.org; http is for loopback hosts only"
	case "audiences":
		return text != "" && len(text) <= 200 && strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) < 0, "a list of names of services, such as https://api.example.org"
	case "return_hosts":
		return isOrigin("https://"+text, "https"), "a list of hosts, such as app.example.org or app.example.org:8443"
	case "handover_sites":
		name, callback, _ := strings.Cut(text, "=")
		return isSiteName(name) && isCallback(callback), "a list such as shop=https://shop.example.net/arrive: a name of small letters, digits and dashes, and an https URL without a query; http is for loopback hosts only"
	case "mail_server":
		_, is := notify.ParseMailServer(text)
		return text == "" || is, "a URL, such as smtp://user@mail.example.org:587, smtps://user@mail.example.org or smtp+insecure://mail.internal:25; a password goes into a file or ADMIT_MAIL_PASSWORD"
	case "mail_from":
		_, err := notify.ParseSender(text)
		return text == "" || err == nil, "an address, such as no-reply@example.org or Example <no-reply@example.org>"
	case "text_from":
		return len(text) <= 64 && strings.IndexFunc(text, unicode.IsControl) < 0, "a number such as +15005550006, a name, or the id of a messaging service"
	case "text_server":
		_, is := notify.ParseTextServer(text)
		return text == "" || is, "a URL, such as https://sms.example.org/send or twilio://AC0123@api.twilio.com; a secret goes into a file or ADMIT_TEXT_SECRET"
	case "breached_url":
		return text == "" || isRangeURL(text), "an https URL without a query, such as https://api.pwnedpasswords.com/range; http is for loopback hosts only"
	case "theme", "handover_secrets_file", "tls_cert", "tls_key", "mail_password_file", "text_secret_file", "breached_file":
		return !strings.Contains(text, "\x00"), "a path"
	case "master_key_file":
		return strings.TrimSpace(text) == text && !strings.Contains(text, "\x00"), "a path"
	case "master_key_command":
		return strings.TrimSpace(text) == text && !strings.Contains(text, "\x00"), "a program and its arguments"
	case "password_min_length":
		return within(text, 8, 64), "a whole number from 8 to 64"
	case "key_rotation":
		return within(text, 0, 3650), "a whole number of days from 1 to 3650, or 0"
	case "max_connections":
		return within(text, 64, 1_000_000), "a whole number from 64 to 1,000,000"
	case "otlp_endpoint":
		u, err := url.Parse(text)
		return text == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "", "an http or https URL, such as http://localhost:4318"
	case "acme":
		return isDomain(text), "a list of domains, such as id.example.org"
	case "acme_directory":
		u, err := url.Parse(text)
		return text == "" || err == nil && u.Scheme == "https" && u.Host != "", "an https URL"
	case "trusted_proxy":
		_, err := parseNetwork(text)
		return err == nil, "a list of addresses and networks, such as 127.0.0.1 or 10.0.0.0/8, but not everybody"
	case "client_networks":
		_, err := parsePrivate(text)
		return err == nil, "a list of private addresses and networks, such as 10.20.0.0/16 or fd12:3456::/32, and nothing of this machine itself"
	case "audit_keep":
		return within(strings.TrimSuffix(text, "d"), 0, 36500), "a number of days up to 36500, such as 400d, or 0"
	case "factor_loss_delay":
		return within(strings.TrimSuffix(text, "d"), 1, 60), "a number of days from 1 to 60, such as 3d"
	case "log_level":
		return text == "debug" || text == "info" || text == "warn" || text == "error", "debug, info, warn or error"
	case "client_registration":
		return text == RegistrationOff || text == RegistrationToken || text == RegistrationOpen, "off, token or open"
	case "log_format":
		return text == "text" || text == "json", "text or json"
	}
	if _, is := s.Value.(bool); is {
		return text == "true" || text == "false", "true or false"
	}
	return text != "", "text"
}

// isRedis reports whether text says where a Redis is. A password in it would be read by
// whoever lists the command lines.
func isRedis(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	_, secret := u.User.Password()
	number := strings.Trim(u.Path, "/")
	return !secret && (number == "" || within(number, 0, 1<<20))
}

func within(text string, low, high int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= low && n <= high
}

// isOrigin reports whether text is an origin as browsers write it (RFC 6454
// 6.2): what is compared with what they send must be spelled as they do.
func isOrigin(text, scheme string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != scheme || text != scheme+"://"+u.Host || u.Hostname() == "" {
		return false
	}
	if strings.Trim(u.Host, "abcdefghijklmnopqrstuvwxyz0123456789-.:[]") != "" || strings.HasSuffix(u.Host, ":") {
		return false
	}
	if scheme == "https" {
		return u.Port() != "443"
	}
	return u.Port() != "80" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// readFile takes the values of a YAML file.
func (c *Config) readFile(file string) []error {
	text, err := os.ReadFile(file)
	errs := []error{err}
	if err == nil {
		errs = c.read(file, text)
	}
	for i, err := range errs {
		if admit.KindOf(err) == admit.Internal {
			errs[i] = fmt.Errorf("%w: %w", ErrConfigFile, err)
		}
	}
	return errs
}

func (c *Config) read(file string, text []byte) (errs []error) {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := in.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		return []error{fmt.Errorf("%s: there is more than one document", file)}
	}
	root := doc.Content[0]
	if root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("%s: no settings, which are lines such as %q", at(file, root), "listen: localhost:8080")}
	}
	fields := c.fields()
	seen := map[string]int{}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		f, near := nearest(fields, key.Value)
		if key.Kind != yaml.ScalarNode || key.Value != f.Name || f.Flag == "" {
			hint := "did you mean " + f.Name + "?"
			switch {
			case !near:
				hint = allKeys
			case f.Flag == "":
				hint = f.Name + " is a secret: set " + f.Env
			}
			errs = append(errs, fmt.Errorf("%s: %s: %w", at(file, key), key.Value, ErrConfigKey.WithHint(hint)))
			continue
		}
		if line, twice := seen[f.Name]; twice {
			errs = append(errs, fmt.Errorf("%s: %s: %w", at(file, key), key.Value, ErrConfigTwice.WithHint(fmt.Sprintf("it stands on line %d too", line))))
			continue
		}
		seen[f.Name] = key.Line
		texts, ok := f.plain(value)
		if !ok {
			_, want := f.rule("")
			errs = append(errs, fmt.Errorf("%s: %s: %w", at(file, value), key.Value, ErrConfigValue.WithHint(f.Name+" is "+want)))
			continue
		}
		if err := c.set(f, at(file, key), texts); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// plain returns a value of the file as text, if it has the field's shape.
func (f *field) plain(n *yaml.Node) (texts []string, ok bool) {
	if _, list := f.to.(*[]string); list {
		if n.Kind != yaml.SequenceNode {
			return nil, false
		}
		texts = []string{}
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode || e.Tag == "!!null" {
				return nil, false
			}
			texts = append(texts, e.Value)
		}
		return texts, true
	}
	return []string{n.Value}, n.Kind == yaml.ScalarNode && n.Tag != "!!null"
}

// allKeys is the hint where no key is near.
const allKeys = "admit config print shows every setting"

// nearest returns the field whose name is fewest letters away, and whether it is
// near enough to be what was meant.
func nearest(fields []field, word string) (f field, near bool) {
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	word = word[:min(len(word), 64)] // nobody meant more
	f = slices.MinFunc(fields, func(a, b field) int { return distance(a.Name, word) - distance(b.Name, word) })
	// Of a short word three other letters are another word.
	return f, distance(f.Name, word) <= min(3, len(word)/2)
}

// distance counts the letters that must be added, taken away or replaced to make
// one word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(a)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(b) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(a) {
			replaced := diagonal
			if b[i] != a[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(a)]
}
