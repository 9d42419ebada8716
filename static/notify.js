// Runs as a service worker, through which alone a phone shows notifications. A click leads back to the deployment.

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(lead(event.notification.data));
});

async function lead(address) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((each) => each.url.split("?")[0] === address);
  await (page ? page.focus() : self.clients.openWindow(address));
}
