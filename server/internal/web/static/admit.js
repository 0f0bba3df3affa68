// Lets people see the password that they type. Every page works without this;
// it is the only script there is.
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
