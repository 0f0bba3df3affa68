// Lets people see the password that they type, and saves them a press. Every page
// works without this; it is the only script there is.
"use strict";
for (const box of document.querySelectorAll(".secret")) {
	const input = box.querySelector("input"), button = document.createElement("button"), told = document.createElement("span");
	const show = (shown) => {
		input.type = shown ? "text" : "password";
		button.textContent = shown ? box.dataset.hide : box.dataset.show;
		button.setAttribute("aria-label", button.textContent + " · " + input.labels[0].textContent);
	};
	button.type = "button";
	button.className = "reveal";
	button.setAttribute("aria-controls", input.id);
	told.className = "unseen";
	told.setAttribute("role", "status");
	button.addEventListener("click", () => {
		show(input.type === "password");
		told.textContent = input.type === "text" ? box.dataset.shown : box.dataset.hidden;
	});
	// Browsers remember what text fields held, and offer it again.
	input.form.addEventListener("submit", () => show(false));
	show(false);
	box.append(button, told);
}
// A mailed link that was opened in the browser that asked for it needs no press,
// once somebody looks: a page that is loaded ahead presses nothing.
for (const form of document.querySelectorAll("form[data-at-once]")) {
	let pressed = form.action !== document.URL; // on a page that only shows what it looks like
	const press = () => {
		if (pressed || document.prerendering || document.visibilityState !== "visible") return;
		pressed = true;
		form.requestSubmit();
	};
	document.addEventListener("visibilitychange", press);
	document.addEventListener("prerenderingchange", press);
	press();
}
// WebOTP: a texted code that names this host fills itself in, if the person agrees.
for (const form of document.querySelectorAll("form[data-texted]")) {
	if (!("OTPCredential" in window)) continue;
	const end = new AbortController();
	form.addEventListener("submit", () => end.abort());
	navigator.credentials.get({ otp: { transport: ["sms"] }, signal: end.signal }).then((otp) => {
		form.elements.code.value = otp.code;
		form.requestSubmit();
	}, () => {});
}
