// Keeps the numbers of the page as they are now.
const shown = document.querySelectorAll("[data-number]");
const look = async () => {
  if (document.hidden) return;
  try {
    const numbers = await (await fetch("?numbers")).json();
    shown.forEach((element) => {
      element.textContent = numbers[element.dataset.number].toLocaleString();
    });
  } catch {
    // The relay may be restarting: the next look tells.
  }
};
setInterval(look, 5000);
