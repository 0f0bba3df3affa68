package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/keyring"
)

// A Finding is what Diagnose says of one thing.
type Finding struct {
	Check string `json:"check"`          // what was looked at, in one word
	State string `json:"state"`          // "ok", "warn" or "fail"
	Text  string `json:"text"`           // what is so, in a sentence
	Hint  string `json:"hint,omitempty"` // what to do
}

// The states of findings.
const (
	FindingOK   = "ok"
	FindingWarn = "warn"
	FindingFail = "fail"
)

// Diagnose looks for what is wrong with a server that runs on the configured
// data folder, or that would be started on it, and changes nothing. Unread is why
// the configuration could not be read, nil where it could.
func Diagnose(ctx context.Context, cfg Config, unread error) []Finding {
	d := &doctor{cfg: cfg, now: time.Now(), client: &http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	d.diagnose(ctx, unread)
	return d.findings
}

// Try sends a test message through the configured servers, to an e-mail address or a
// phone number, and says what came of it and what to do.
func Try(ctx context.Context, cfg Config, to string) Finding {
	d := &doctor{cfg: cfg, now: time.Now()}
	d.try(ctx, to)
	return d.findings[0]
}

// A doctor is one examination.
type doctor struct {
	cfg      Config
	now      time.Time
	client   *http.Client // asks the public URL
	findings []Finding
	running  *status // of the server that runs, nil where none does
	socket   *http.Client
}

// A status is what a running server says of itself.
type status struct {
	URL     string `json:"url"`
	Port    string `json:"port"`
	CanMail bool   `json:"can_mail"`
	Files   int    `json:"files"` // that it may open; 0 is no bound that is known
	PID     int    `json:"pid"`
}

func (s *Server) status() status {
	return status{URL: s.publicURL(), Port: s.port(), CanMail: s.ready.CanMail, Files: openFiles(), PID: os.Getpid()}
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, FindingOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, hint, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, FindingWarn, fmt.Sprintf(format, args...), hint})
}

func (d *doctor) fail(check, hint, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, FindingFail, fmt.Sprintf(format, args...), hint})
}

// refused is fail with the hint of a refusal, whose sentence is written for a
// page.
func (d *doctor) refused(check string, err error) {
	text, hint := err.Error(), "look at the log of the server"
	if e, ok := errors.AsType[*admit.Error](err); ok {
		sentence := strings.TrimSuffix(e.Error(), ".")
		text = strings.Replace(text, e.Error(), strings.ToLower(sentence[:1])+sentence[1:], 1)
		hint = cmp.Or(e.Hint(), hint)
	}
	d.fail(check, hint, "%s", text)
}

func (d *doctor) diagnose(ctx context.Context, unread error) {
	if unread != nil { // which folder is meant is not known
		d.refused("settings", unread)
		d.files()
		d.clock()
		return
	}
	if err := d.cfg.Check(); err != nil {
		d.refused("settings", err)
	} else {
		d.ok("settings", "every setting is known, and none contradicts another")
	}
	if err := tryTheme(d.cfg.Theme); err != nil {
		d.refused("theme", err)
	} else if d.cfg.Theme != "" {
		d.ok("theme", "every page can be shown with the theme")
	}
	switch {
	case d.cfg.Database != "":
		if _, err := os.Stat(d.cfg.Data); err == nil { // it has the socket of a server that runs here
			d.server(ctx)
		}
		d.keys(ctx)
		d.database(ctx)
	case d.folder():
		d.disk()
		d.server(ctx)
		d.keys(ctx)
		d.database(ctx)
	}
	d.files()
	d.clock()
	d.certificate()
	d.listen(ctx)
	d.proxy(ctx)
	d.mail()
}

// folder looks at the data folder, and reports whether there is one.
func (d *doctor) folder() bool {
	const check = "folder"
	info, err := os.Stat(d.cfg.Data)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.fail(check, "name it with --data; admit serve makes one", "%s: there is no data folder here", d.cfg.Data)
		return false
	case err != nil:
		d.fail(check, "let this user look into it", "the data folder cannot be looked at: %v", err)
		return false
	case !info.IsDir():
		d.fail(check, "name the folder with --data", "%s is a file and no folder", d.cfg.Data)
		return false
	}
	good := true
	if !writable(d.cfg.Data) {
		good = false
		d.fail(check, "run as the user who owns it, or give it to this one", "the data folder %s cannot be written to by this user", d.cfg.Data)
	}
	if kind := networked(d.cfg.Data); kind != "" {
		good = false
		d.fail(check, "put it on a disk of this machine: locks and shared memory of a database do not hold over a network", "the data folder is on a network file system (%s)", kind)
	}
	if runtime.GOOS == "windows" {
		d.ok(check, "the data folder is %s; who may read it is not looked at on Windows", d.cfg.Data)
		return true
	}
	owner := ownerOf(info)
	if owner != os.Geteuid() && os.Geteuid() != 0 {
		good = false
		d.warn(check, "run doctor as the user that the server runs as", "the data folder belongs to user %d, and this is user %d", owner, os.Geteuid())
	}
	for _, name := range []string{"", databaseName, databaseName + "-wal", keysName, socketName} {
		info, err := os.Lstat(filepath.Join(d.cfg.Data, name))
		if err != nil {
			continue // keys and database are looked at below
		}
		path := filepath.Join(d.cfg.Data, name)
		if open := info.Mode().Perm() & 0o077; open != 0 {
			good = false
			mode := "600"
			if info.IsDir() {
				mode = "700"
			}
			d.fail(check, "chmod "+mode+" "+path, "%s may be used by others than its owner (mode %03o)", path, info.Mode().Perm())
		}
		if ownerOf(info) != owner {
			good = false
			d.fail(check, fmt.Sprintf("chown %d %s", owner, path), "%s belongs to user %d, but the folder to user %d", path, ownerOf(info), owner)
		}
	}
	if good {
		d.ok(check, "the data folder %s is its owner's alone", d.cfg.Data)
	}
	return true
}

// fullSpace is how much is left, in bytes, on a disk that is as good as full.
const fullSpace = 64 << 20

func (d *doctor) disk() {
	room, err := readSpace(d.cfg.Data)
	const hint = "make room: when it is full nobody can sign in any more, though nothing is lost"
	switch {
	case err != nil: // this system does not tell
	case room.free < fullSpace:
		d.fail("disk", hint, "the disk of the data folder is full: %d MiB are free", room.free>>20)
	case room.low():
		d.warn("disk", hint, "the disk of the data folder is nearly full: %d MiB are free", room.free>>20)
	default:
		d.ok("disk", "%.1f GiB of disk are free", float64(room.free)/(1<<30))
	}
}

// server looks for a server on the folder.
func (d *doctor) server(ctx context.Context) {
	const check = "server"
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d.socket = socketClient(d.cfg.Data)
	if b, err := post(ctx, d.socket, "status", []byte("{}")); err == nil {
		d.running = &status{}
		if err := json.Unmarshal(b, d.running); err == nil {
			d.ok(check, "a server runs on this folder as process %d, for %s", d.running.PID, d.running.URL)
			return
		}
		d.running = nil
	}
	lock, err := os.OpenFile(filepath.Join(d.cfg.Data, lockName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		d.ok(check, "no server runs on this folder")
		return
	}
	if err != nil {
		d.fail(check, "run as the user that the server runs as", "the lock of the folder cannot be opened: %v", err)
		return
	}
	defer lock.Close()
	if lockFile(lock) != nil {
		d.fail(check, "look whether it hangs, is an older version, or belongs to another container; stop it", "another process holds this folder and does not answer through its socket")
		return
	}
	d.ok(check, "no server runs on this folder")
}

// keys looks whether the server's keys can be opened, which a master key may
// seal.
func (d *doctor) keys(ctx context.Context) {
	const check = "keys"
	if _, err := keysFile(d.cfg.Data); err != nil && d.cfg.Database == "" {
		d.refused(check, err)
		return
	}
	masters, err := d.cfg.masterKeys(ctx)
	if err != nil {
		d.refused(check, err)
		return
	}
	file := d.cfg.database()
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && d.cfg.Database == "" {
		d.ok(check, "there are no keys yet: the first start makes them")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	keys, err := db.Keys(ctx, file)
	if err == nil {
		err = keyring.Check(keys, masters)
	}
	switch {
	case err == nil && len(keys) == 0:
		d.ok(check, "there are no keys yet: the first start makes them")
	case err != nil:
		d.refused(check, err)
	case len(masters) == 0:
		d.warn(check, "start the server with --master-key-file, which seals them", "the server's own keys stand unsealed in the database: who has a copy of it has them")
	default:
		d.ok(check, "the keys can be opened with the master key")
	}
}

func (d *doctor) database(ctx context.Context) {
	const check = "database"
	file := d.cfg.database()
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && d.cfg.Database == "" {
		d.ok(check, "there is no database yet: the first start makes it")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, latest, err := db.Examine(ctx, file)
	switch behind := len(s.Pending); {
	case err != nil:
		d.refused(check, err)
		return
	case behind > 0 && d.running != nil:
		d.warn(check, "restart the server: it is an older version than this command", "the schema is %d steps behind this version", behind)
	case behind > 0:
		d.ok(check, "the database is whole; the next start brings its schema forward by %d steps", behind)
	case d.cfg.Database != "":
		d.ok(check, "PostgreSQL answers, and the schema is that of this version")
	default:
		d.ok(check, "the database is whole, and its schema is that of this version")
	}
	// A minute is for machines that share a folder one after the other.
	if ahead := latest.Sub(d.now); ahead > time.Minute {
		d.fail("clock", "set the clock right, by NTP, before anybody signs in: with a clock that is behind, what has expired lives again",
			"the clock of this machine is behind: the database knows of something %v from now, at %s", ahead.Round(time.Second), latest.UTC().Format(time.RFC3339))
	}
}

// fewFiles is what each connection and each reader of the database needs at most
// on a busy server.
const fewFiles = 4096

func (d *doctor) files() {
	const check = "files"
	n, whose := openFiles(), "this process"
	if d.running != nil {
		n, whose = d.running.Files, "the server"
	}
	const hint = "raise it, in a systemd unit by LimitNOFILE=65536; each connection takes one"
	switch {
	case n == 0:
	case n < 256:
		d.fail(check, hint, "%s may open %d files only", whose, n)
	case n < fewFiles:
		d.warn(check, hint, "%s may open %d files only", whose, n)
	default:
		d.ok(check, "%s may open %d files", whose, n)
	}
}

func (d *doctor) clock() {
	const check = "clock"
	for _, f := range d.findings {
		if f.Check == check {
			return // it is wrong, whatever follows
		}
	}
	synchronized, known := clockSynchronized()
	switch {
	case d.now.Year() < 2026:
		d.fail(check, "set the clock right, by NTP", "the clock says %s", d.now.UTC().Format(time.RFC3339))
	case known && !synchronized:
		d.warn(check, "run a time service, such as chrony or systemd-timesyncd; in a container the host's is what counts", "the clock says %s, and the kernel does not know it to be synchronized", d.now.UTC().Format(time.RFC3339))
	default:
		d.ok(check, "the clock says %s, and nothing in the database is later; time zones do not matter", d.now.UTC().Format(time.RFC3339))
	}
}

// certificate looks at the files of TLS, where they are set.
func (d *doctor) certificate() {
	const check = "tls"
	cert, key := d.cfg.TLSCert, d.cfg.TLSKey
	if cert == "" && key == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		d.fail(check, "look whether both files are there, may be read by this user, and were made together", "the certificate and its key cannot be used: %v", err)
		return
	}
	leaf := pair.Leaf
	const renew = "renew it; a running server takes the new files by itself"
	host := ""
	if u, err := url.Parse(d.cfg.PublicURL); err == nil {
		host = u.Hostname()
	}
	switch left := leaf.NotAfter.Sub(d.now); {
	case left <= 0:
		d.fail(check, renew, "the certificate has expired, at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case leaf.NotBefore.After(d.now):
		d.fail(check, "look at the clock", "the certificate is good from %s on only", leaf.NotBefore.UTC().Format(time.RFC3339))
	case host != "" && leaf.VerifyHostname(host) != nil:
		d.fail(check, "have one made for it", "the certificate is not for %s", host)
	case left < certificateSoon:
		d.warn(check, renew, "the certificate expires in %d days", int(left.Hours()/24))
	default:
		d.ok(check, "the certificate and its key belong together; it is good for %d days", int(left.Hours()/24))
	}
	if info, err := os.Stat(key); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		d.warn(check, "chmod 600 "+key, "the key of the certificate may be used by others (mode %03o)", info.Mode().Perm())
	}
}

// listen looks whether the address can be listened on, or is.
func (d *doctor) listen(ctx context.Context) {
	const check = "address"
	if d.running != nil {
		if d.running.Port == "" {
			d.ok(check, "the server is part of another program, which listens")
			return
		}
		conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", d.running.Port))
		if err != nil {
			d.warn(check, "look whether it listens on another address, or a firewall is in between", "the server does not answer on port %s of this machine: %v", d.running.Port, err)
			return
		}
		conn.Close()
		d.ok(check, "the server answers on port %s", d.running.Port)
		return
	}
	if d.cfg.Listen == "" {
		return
	}
	s := &Server{cfg: d.cfg}
	err := s.listen()
	s.Close()
	if err != nil {
		d.refused(check, fmt.Errorf("%s: %w", d.cfg.Listen, err))
		return
	}
	d.ok(check, "%s is free to listen on", d.cfg.Listen)
}

// proxy sends a request to the public URL and looks how it arrives.
func (d *doctor) proxy(ctx context.Context) {
	const check = "proxy"
	public := d.cfg.PublicURL
	if d.running != nil && strings.HasPrefix(d.running.URL, "https://") {
		public = d.running.URL
	}
	switch {
	case public == "":
		d.ok(check, "there is no public URL, and so no proxy")
		return
	case d.running == nil:
		d.warn(check, "run doctor again while the server runs", "what a proxy makes of requests to %s can be seen while the server runs only", public)
		return
	}
	name := rand.Text()
	in, _ := json.Marshal(target{SID: name}) // text always marshals
	if _, err := post(ctx, d.socket, "expect-probe", in); err != nil {
		d.refused(check, err)
		return
	}
	req, err := http.NewRequestWithContext(ctx, "GET", public+probePath, nil)
	if err != nil {
		d.fail(check, "set --public-url to an origin", "%v", err)
		return
	}
	req.Header.Set(probeHeader, name)
	res, err := d.client.Do(req)
	if err != nil {
		if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
			d.fail(check, "give the proxy a certificate for this name, with the whole chain", "browsers will not trust %s: %v", public, err)
			return
		}
		d.warn(check, "look at DNS, the firewall and the proxy; some networks let nobody in from inside, so look from outside too", "%s cannot be reached from this machine: %v", public, err)
		return
	}
	res.Body.Close()
	b, err := post(ctx, d.socket, "take-probe", in)
	var got *probe
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil {
		d.refused(check, err)
		return
	}
	if got == nil {
		d.fail(check, "point the name to this server, or its proxy to http://127.0.0.1:"+d.running.Port, "something else answers at %s (with %s)", public, res.Status)
		return
	}
	d.arrived(public, got)
}

// arrived judges how a request to the public URL arrived.
func (d *doctor) arrived(public string, got *probe) {
	const check = "proxy"
	u, _ := url.Parse(public) // it was asked
	if got.Host != u.Host {
		d.fail(check, "nginx: proxy_set_header Host $host; Apache: ProxyPreserveHost On; Caddy does so by itself", "the proxy asks for the host %q and not for %s, so requests are refused", got.Host, u.Host)
		return
	}
	if got.TLS {
		d.ok(check, "requests to %s arrive over TLS, from %s", public, hostOf(got.Peer))
		return
	}
	good := true
	if got.For == "" && got.Forwarded == "" {
		good = false
		d.warn(check, "nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for", "the proxy does not tell whose requests it passes on: all seem to come from %s, and share one budget of tries", hostOf(got.Peer))
	}
	if got.Proto != "https" && got.Forwarded == "" {
		good = false
		d.warn(check, "nginx: proxy_set_header X-Forwarded-Proto $scheme", "the proxy does not tell that people use https (X-Forwarded-Proto is %q)", got.Proto)
	}
	if got.For != "" && !d.trusts(hostOf(got.Peer)) {
		good = false
		d.warn(check, "start the server with --trusted-proxy "+hostOf(got.Peer)+", and doctor with the same settings", "the proxy at %s is not trusted, so what it tells of clients is not used", hostOf(got.Peer))
	}
	if good {
		d.ok(check, "requests to %s arrive through the proxy at %s with all that is needed", public, hostOf(got.Peer))
	}
}

func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	return host
}

// trusts reports whether an address is that of a proxy that is believed.
func (d *doctor) trusts(address string) bool {
	a, err := parseNetwork(address)
	return err == nil && slices.ContainsFunc(d.cfg.proxies(), func(p netip.Prefix) bool { return p.Contains(a.Addr()) })
}

func (d *doctor) mail() {
	const check = "mail"
	switch {
	case d.cfg.Dev:
		d.ok(check, "mail and text messages arrive in the inbox of --dev, and leave this machine never")
		return
	case d.cfg.MailServer != "":
		d.ok(check, "mail goes to %s, from %s; --mail-to ADDRESS tries it", d.cfg.MailServer, d.cfg.MailFrom)
	case d.running != nil && d.running.CanMail:
		d.ok(check, "the server that runs can send mail; give doctor the same settings to try it")
	default:
		d.warn(check, "give mail_server and mail_from; people sign up with a user name until then", "there is no mail transport: what would be mailed is refused")
	}
	if d.cfg.TextServer != "" {
		d.ok("text", "text messages go to %s; --text-to NUMBER tries it", d.cfg.TextServer)
	}
}
