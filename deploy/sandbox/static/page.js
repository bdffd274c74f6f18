"use strict";
// Bodies and numbers are hostile: they only ever reach the page through textContent.

const PHONES_SHOWN = 60;
const TEXTS_SHOWN = 40;
const main = document.getElementById("phones");
const search = document.getElementById("q");
const phones = new Map(); // number -> {card, list, sub, texts: Map(sid -> {row, text}), lastDay}

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const time = (at) => new Date(at).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
const day = (at) => new Date(at).toLocaleDateString([], { weekday: "short", month: "short", day: "numeric" });
const pretty = (number) => {
  const us = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(number);
  return us ? `+1 (${us[1]}) ${us[2]}-${us[3]}` : number || "unknown";
};

const STATUS = {
  accepted: ["·", "accepted"], queued: ["·", "queued"], sending: ["·", "sending"], sent: ["✓", "sent"],
  delivered: ["✓✓", "delivered"], undelivered: ["✕", "not delivered"], failed: ["✕", "failed"],
};

const isFailed = (text) => text.status === "undelivered" || text.status === "failed";

function fill(row, text) {
  const theirs = text.direction === "inbound";
  const kind = theirs ? "theirs" : text.direction === "outbound-reply" ? "ours auto" : "ours";
  row.className = `text ${kind}${isFailed(text) ? " failed" : ""}${row.dataset.fresh ? " fresh" : ""}`;
  const note = make("small");
  if (!theirs) {
    const [mark, words] = STATUS[text.status] || ["·", text.status];
    const tick = make("span", text.status === "delivered" ? "tick done" : "tick", mark);
    tick.setAttribute("aria-hidden", "true");
    note.append(tick, `${words}${text.error ? ` (${text.error})` : ""} · `);
    if (text.direction === "outbound-reply") note.append("by the carrier · ");
  }
  const when = make("time", "", time(text.at));
  when.dateTime = text.at;
  when.title = text.at;
  note.append(when);
  const body = make("p", "", text.body || "(empty)");
  body.dir = "auto";
  const who = make("span", "skip", theirs ? "The borrower wrote:" : "Received:");
  row.replaceChildren(who, body, note);
}

function card(number) {
  const article = make("article", "phone");
  const title = make("h2", "", pretty(number));
  const sub = make("p", "sub", "");
  const list = make("ol", "texts");
  list.tabIndex = 0;
  list.setAttribute("aria-label", `Texts of ${pretty(number)}`);
  article.append(title, sub, list);
  return { card: article, list, sub, texts: new Map(), lastDay: "" };
}

function retitle(phone) {
  let received = 0, written = 0, optedOut = false;
  for (const { text } of phone.texts.values()) {
    if (text.direction === "inbound") written += 1;
    else if (text.direction === "outbound-api" && !isFailed(text)) received += 1;
    optedOut = text.opted_out; // the newest text's word
  }
  phone.sub.textContent = `${received} received · ${written} written${optedOut ? " · opted out" : ""}`;
  phone.sub.classList.toggle("out-tag", optedOut);
}

function show(text, fresh) {
  let phone = phones.get(text.phone);
  const known = phone && phone.texts.get(text.sid);
  if (known) {
    known.text = text;
    fill(known.row, text);
    return retitle(phone);
  }
  if (!phone) {
    phone = card(text.phone);
    phones.set(text.phone, phone);
  }
  if (fresh || !phone.card.isConnected) {
    const held = phone.card.contains(document.activeElement);
    if (!held && main.firstChild !== phone.card) fresh ? main.prepend(phone.card) : main.append(phone.card);
  }
  const atEnd = phone.list.scrollHeight - phone.list.scrollTop - phone.list.clientHeight < 60;
  if (day(text.at) !== phone.lastDay) {
    phone.lastDay = day(text.at);
    phone.list.append(make("li", "day", phone.lastDay));
  }
  const row = make("li");
  if (fresh) row.dataset.fresh = "1";
  fill(row, text);
  phone.texts.set(text.sid, { row, text });
  phone.list.append(row);
  while (phone.texts.size > TEXTS_SHOWN) {
    const [sid, oldest] = phone.texts.entries().next().value;
    oldest.row.remove();
    phone.texts.delete(sid);
  }
  retitle(phone); // before scrolling: a title that grows takes its height from the list
  if (atEnd || !fresh) phone.list.scrollTop = phone.list.scrollHeight;
}

function trim() {
  while (main.children.length > PHONES_SHOWN) {
    const last = main.lastElementChild;
    for (const [number, phone] of phones) if (phone.card === last) phones.delete(number);
    last.remove();
  }
  const empty = document.getElementById("empty");
  empty.hidden = main.children.length > 0;
  empty.textContent = search.value ? "No phone ends in these digits." : "No texts yet. They appear here as soon as one is sent.";
}

function count(counts) {
  document.getElementById("sent").textContent = counts.sent.toLocaleString();
  document.getElementById("replies").textContent = counts.replies.toLocaleString();
  document.getElementById("opted_out").textContent = counts.opted_out.toLocaleString();
  document.getElementById("phones_count").textContent = counts.phones.toLocaleString();
  const now = document.getElementById("now");
  now.textContent = ` · ${day(counts.now)}, ${time(counts.now)}`;
  now.dateTime = counts.now;
}

const digits = () => search.value.replace(/\D/g, "");
let loading = false, again = false;

async function load() {
  if (loading) { again = true; return; }
  loading = true;
  try {
    const answer = await fetch(`/page/phones?q=${digits()}`);
    const data = await answer.json();
    phones.clear();
    main.replaceChildren();
    for (const phone of data.phones) for (const text of phone.texts) show(text, false);
    count(data.counts);
    trim();
  } catch {
    live(false);
  } finally {
    loading = false;
    if (again) { again = false; setTimeout(load, 1000); }
  }
}

function live(on) {
  document.getElementById("dot").classList.toggle("on", on);
  document.getElementById("state").textContent = on ? "live" : "not connected, trying again";
}

function listen() {
  const source = new EventSource("/page/events");
  source.onopen = () => { live(true); load(); };
  source.onerror = () => live(false);
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    count(data.counts);
    if (data.resync) return load();
    if (loading) again = true; // what is being fetched may be older than this
    const wanted = digits();
    for (const text of data.texts) if (!wanted || text.phone.endsWith(wanted)) show(text, true);
    trim();
  };
}

let typing;
search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(load, 200); });
listen();
