"use strict";
const { key, questions } = JSON.parse(document.getElementById("export").textContent);
const place = "westofn-answers-" + key;
const at = (id) => document.getElementById(id);
const LABELS = { a: "a", b: "b", t: "tie", s: "skip" };
let answers = [];  // [question_id, label] in the order in which they were given

function warn(text) {
  at("warning").textContent = text;
  at("warning").hidden = false;
}

function restore() {
  const known = new Set(questions.map((question) => question.question_id));
  try {
    const kept = JSON.parse(localStorage.getItem(place) || "[]");
    answers = kept.filter(([id, label]) => known.has(id) && Object.values(LABELS).includes(label));
  } catch (error) {
    warn("Earlier answers cannot be read in this browser. Download the answers before you close the page.");
  }
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(answers));
  } catch (error) {
    warn("This browser keeps no answers. Download them before you close the page.");
  }
}

function current() {
  const answered = new Set(answers.map(([id]) => id));
  return questions.find((question) => !answered.has(question.question_id));
}

function show() {
  const question = current();
  at("question").hidden = !question;
  at("done").hidden = Boolean(question);
  if (question) {
    at("prompt").textContent = question.prompt;
    at("response-a").textContent = question.response_a;
    at("response-b").textContent = question.response_b;
  }
  const total = questions.length;
  at("status").textContent = question
    ? `Question ${questions.indexOf(question) + 1} of ${total}, ${answers.length} answered`
    : `${answers.length} of ${total} answered`;
  at("progress").max = total;
  at("progress").value = answers.length;
  for (const button of document.querySelectorAll("[data-label]")) button.disabled = !question;
  at("undo").disabled = !answers.length;
  at("download").disabled = !answers.length;
}

function answer(label) {
  const question = current();
  if (!question) return;
  answers.push([question.question_id, label]);
  keep();
  show();
  scrollTo(0, 0);
}

function undo() {
  if (!answers.length) return;
  answers.pop();
  keep();
  show();
}

function lines() {
  const labels = new Map(answers);
  return questions
    .filter((question) => labels.has(question.question_id))
    .map((question) => JSON.stringify({ ...question, label: labels.get(question.question_id) }) + "\n")
    .join("");
}

function download() {
  const address = URL.createObjectURL(new Blob([lines()], { type: "application/x-ndjson" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = "answers.jsonl";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

for (const button of document.querySelectorAll("[data-label]")) {
  button.addEventListener("click", () => answer(button.dataset.label));
}
at("undo").addEventListener("click", undo);
at("download").addEventListener("click", download);
document.addEventListener("keydown", (event) => {
  // A key that is held down must not answer one question after the other.
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const pressed = event.key.toLowerCase();
  if (Object.hasOwn(LABELS, pressed)) answer(LABELS[pressed]);
  else if (pressed === "u" || event.key === "Backspace") undo();
  else return;
  event.preventDefault();
});
restore();
show();
