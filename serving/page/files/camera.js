/** The camera: what it sees, taking a picture, and changing to the other one. */

const QUALITY = 0.92;
const WIDTH = 1280; // pixels, where the camera can
const REFUSALS = {
  NotAllowedError: "The browser does not allow the camera.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use by another program.",
};

export class Camera {
  constructor(part, { begin, take, say, complain }) {
    Object.assign(this, { part, begin, take, say, complain });
    this.stream = null;
    this.asked = 0; // how often a camera was asked for or let go; an answer to an earlier question comes too late
    part("open").addEventListener("click", () => this.open());
    part("close").addEventListener("click", () => this.leave());
    part("turn").addEventListener("click", () => this.turn());
    part("shoot").addEventListener("click", () => this.shoot());
    part("camera").addEventListener("keydown", ({ key }) => key === "Escape" && this.leave());
    window.addEventListener("pagehide", () => this.close());
  }

  /** Show what the camera sees; where a page has no right to it (plain http), ask the phone's own camera program. */
  async open() {
    if (!navigator.mediaDevices) {
      const file = this.part("file");
      file.setAttribute("capture", "environment");
      file.click();
      file.removeAttribute("capture");
      return;
    }
    this.begin();
    if (!(await this.start({ facingMode: "user" }))) return;
    this.part("empty").hidden = true;
    this.part("camera").hidden = false;
    this.say("The camera is on.");
    this.part("shoot").focus();
    const cameras = await this.cameras();
    this.part("turn").hidden = cameras.length < 2;
  }

  async cameras() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId }) => deviceId);
  }

  async start(which) {
    this.stop();
    const asked = this.asked;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH }, ...which } });
    } catch ({ name }) {
      if (asked !== this.asked) return false;
      this.close();
      this.complain(REFUSALS[name] ?? "The camera could not be started.");
      return false;
    }
    if (asked !== this.asked) {
      for (const track of stream.getTracks()) track.stop();
      return false;
    }
    this.stream = stream;
    const video = this.part("video");
    video.srcObject = this.stream;
    const facing = this.stream.getVideoTracks()[0].getSettings().facingMode;
    video.classList.toggle("mirrored", facing !== "environment"); // as people know themselves; what is taken is not
    return true;
  }

  async turn() {
    const cameras = await this.cameras();
    const now = this.stream.getVideoTracks()[0].getSettings().deviceId;
    await this.start({ deviceId: { exact: cameras[(cameras.indexOf(now) + 1) % cameras.length] } });
  }

  async shoot() {
    const video = this.part("video");
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return; // nothing has come from it yet
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(video, 0, 0);
    this.part("open").focus();
    this.take(await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY)));
  }

  leave() {
    this.close();
    this.say("The camera is off.");
    this.part("open").focus();
  }

  close() {
    this.stop();
    if (this.part("camera").hidden) return;
    this.part("camera").hidden = true;
    this.part("empty").hidden = false;
  }

  stop() {
    this.asked += 1;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }
}
