package web

import "strings"

// A mark in a user agent tells what sent it. The first that is found counts:
// browsers name those that they descend from, too.
type mark struct{ text, name string }

var browsers = []mark{
	{"Edg", "Edge"}, {"OPR/", "Opera"}, {"Vivaldi/", "Vivaldi"}, {"SamsungBrowser/", "Samsung Internet"}, {"YaBrowser/", "Yandex Browser"},
	{"MicroMessenger/", "WeChat"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chromium/", "Chromium"},
	{"Chrome/", "Chrome"}, {"Safari/", "Safari"},
}

var systems = []mark{
	{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"},
	{"Macintosh", "macOS"}, {"CrOS", "ChromeOS"}, {"HarmonyOS", "HarmonyOS"}, {"Linux", "Linux"}, {"BSD", "BSD"},
}

// browserOf names a user agent's browser, or the program where it is none, and
// the system it runs on; each is "" where it is not told. It is a help for
// people who look through their sessions and proves nothing.
func browserOf(userAgent string) (browser, system string) {
	system = find(systems, userAgent)
	if browser = find(browsers, userAgent); browser != "" {
		return browser, system
	}
	product, _, _ := strings.Cut(userAgent, "/")
	if strings.ContainsAny(product, " ();,") || product == "Mozilla" || len(product) > 40 {
		return "", system
	}
	return product, system
}

func find(marks []mark, in string) string {
	for _, m := range marks {
		if strings.Contains(in, m.text) {
			return m.name
		}
	}
	return ""
}

// deviceName is browserOf in one text, such as "Firefox on Linux".
func deviceName(userAgent string) string {
	browser, system := browserOf(userAgent)
	switch {
	case browser == "":
		return system
	case system == "":
		return browser
	}
	return browser + " on " + system
}
