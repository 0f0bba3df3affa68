// Passkeys. Asks the browser for one where a form waits for it, and sends what it
// answers with that form; it talks to nobody else. Only pages that wait for one load
// this.
"use strict";
(() => {
	const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
	const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
	const decoded = (list) => list && list.map((c) => ({ ...c, id: bytes(c.id) }));

	// What parseRequestOptionsFromJSON and toJSON do, which older browsers lack.
	const options = (json) => {
		const o = JSON.parse(json);
		o.challenge = bytes(o.challenge);
		if (o.user) o.user.id = bytes(o.user.id);
		for (const list of ["allowCredentials", "excludeCredentials"]) if (o[list]) o[list] = decoded(o[list]);
		return o;
	};
	const answer = (c) => {
		const response = {};
		for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
			if (c.response[part]) response[part] = text(c.response[part]);
		}
		if (c.response.getTransports) response.transports = c.response.getTransports();
		return JSON.stringify({ id: c.id, rawId: text(c.rawId), type: c.type, response });
	};

	const can = window.PublicKeyCredential;
	const why = { NotAllowedError: "cancelled", AbortError: "cancelled", InvalidStateError: "twice", SecurityError: "elsewhere" };
	let asking; // a browser answers one question at a time

	const ask = async (form, mediation) => {
		if (asking) asking.abort();
		const mine = asking = new AbortController();
		const told = form.querySelector("[role=status]");
		if (!mediation) told.textContent = "";
		try {
			const credential = await navigator.credentials[form.dataset.passkey]({
				publicKey: options(form.dataset.options), signal: mine.signal, ...(mediation && { mediation }),
			});
			if (mine.signal.aborted) return;
			form.elements.credential.value = answer(credential);
			const remember = document.getElementById("remember");
			if (remember && remember.checked) {
				const kept = document.createElement("input");
				kept.type = "hidden";
				kept.name = "remember";
				kept.value = "yes";
				form.append(kept);
			}
			form.submit();
		} catch (e) {
			if (mediation || mine !== asking) return;
			told.textContent = form.dataset[why[e.name] || "failed"];
			suggest(form);
		}
	};

	// Lets the browser offer a passkey by itself: among its suggestions for the
	// field, or without a word right after a password.
	const suggest = async (form) => {
		if (!("auto" in form.dataset)) return;
		const able = form.dataset.passkey === "get"
			? can.isConditionalMediationAvailable && await can.isConditionalMediationAvailable()
			: can.getClientCapabilities && (await can.getClientCapabilities()).conditionalCreate;
		if (able && !form.elements.credential.value) ask(form, "conditional");
	};

	for (const form of document.querySelectorAll("[data-passkey]")) {
		if (!can) {
			form.nextElementSibling.hidden = false;
			continue;
		}
		form.hidden = false;
		form.addEventListener("submit", (e) => {
			e.preventDefault();
			ask(form);
		});
		suggest(form);
	}
	// Who signs in otherwise is not to be asked any more.
	for (const form of document.querySelectorAll("form:not([data-passkey])")) {
		form.addEventListener("submit", () => {
			if (asking) asking.abort();
		});
	}
	if (!can) return;

	// A question is good for an hour: a page that was left open asks a new one.
	const opened = Date.now(), again = document.querySelector("[data-again]");
	if (again) document.addEventListener("visibilitychange", () => {
		const typed = [...document.querySelectorAll("input:not([type=hidden])")].some((i) => i.value !== i.defaultValue);
		if (!document.hidden && !typed && Date.now() - opened > 50 * 60 * 1000) again.click();
	});

	// So that a passkey may be offered after the password, where one can be kept.
	const able = document.querySelector("input[name=able]");
	if (able && can.isUserVerifyingPlatformAuthenticatorAvailable) {
		can.isUserVerifyingPlatformAuthenticatorAvailable().then((yes) => {
			able.value = yes ? "yes" : "";
		}, () => {});
	}
	for (const e of document.querySelectorAll("[data-signal]")) {
		const signal = can["signal" + e.dataset.signal];
		if (signal) signal.call(can, JSON.parse(e.dataset.with)).catch(() => {});
	}
})();
