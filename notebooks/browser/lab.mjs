// Runs notebooks in a real JupyterLab, as a reader would: opens each in Chromium, clicks Run All, looks at the result.
//
//     node notebooks/browser/lab.mjs notebooks/00-quickstart.ipynb --screenshots /tmp
//     DHKD_PROFILE=smoke node notebooks/browser/lab.mjs --sliders 3 notebooks/01-what-softmax-hides.ipynb
//
// Nothing in the checkout is changed. Options: --screenshots DIRECTORY (NAME.png of each notebook, and NAME-slider.png after
// a slider was moved); --timeout S (for all cells of a notebook, default 600); --sliders N (there are so many, of all
// notebooks). Each slider is moved, and the picture of its cell must follow. CHROMIUM names the browser. Exit status: 0
// every cell ran without error and every picture shows; 1 not so; 2 a notebook could not be run.

import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

const stop = (status, message) => {
  console.error(`lab.mjs: ${message}`)
  process.exit(status)
}

async function main () {
  const { notebooks, screenshots, sliders, timeout } = options()
  const temporary = mkdtempSync(join(tmpdir(), 'dhkd-lab-'))
  let lab, browser
  const cleanUp = async () => {
    await browser?.close().catch(() => {})
    await lab?.stop()
    rmSync(temporary, { recursive: true, force: true, maxRetries: 5 })
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => cleanUp().then(() => process.exit(130)))
  try {
    lab = await startLab(dirname(notebooks[0]), temporary)
    browser = await chromium.launch({
      executablePath: findBrowser(),
      args: ['--no-sandbox', '--disable-dev-shm-usage']
    })
    let status = 0
    let moved = 0
    for (const notebook of notebooks) {
      const seen = await read(browser, lab.url, notebook, screenshots, timeout)
      status = Math.max(status, seen.status)
      moved += seen.moved
    }
    if (moved < sliders) {
      console.error(`lab.mjs: ${moved} sliders moved a picture, not ${sliders}`)
      status = Math.max(status, 1)
    }
    return status
  } catch (err) {
    console.error(`lab.mjs: ${err.message.split('\n')[0]}`)
    return 2
  } finally {
    await cleanUp()
  }
}

// read runs a notebook and looks at it. Its status is one that the program may end with.
async function read (browser, url, notebook, screenshots, timeout) {
  const name = basename(notebook, '.ipynb')
  const file = suffix => screenshots && join(screenshots, `${name}${suffix}.png`)
  const began = Date.now()
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } })
  try {
    const moved = await runAll(page, url, basename(notebook), timeout, file('-slider'))
    const { cells, pictures, problems } = await inspect(page)
    if (screenshots) await photograph(page, file(''))
    for (const problem of problems) console.error(`${name}: ${problem}`)
    console.log(`${name}: in JupyterLab: ${cells} code cells, ${pictures} pictures, ${moved} sliders moved, ` +
      `${problems.length} problems (${Math.round((Date.now() - began) / 1000)} s)`)
    return { status: problems.length ? 1 : 0, moved }
  } catch (err) {
    console.error(`${name}: ${err.message.split('\n')[0]}`)
    if (screenshots) await page.screenshot({ path: file('') }).catch(() => {})
    return { status: 2, moved: 0 }
  } finally {
    await page.close()
    await endKernels(url)
  }
}

function options () {
  let values, positionals
  try {
    ({ values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        screenshots: { type: 'string' },
        timeout: { type: 'string', default: '600' },
        sliders: { type: 'string', default: '0' }
      }
    }))
  } catch (err) {
    stop(2, err.message)
  }
  const timeout = Number(values.timeout) * 1000
  const sliders = Number(values.sliders)
  if (positionals.length === 0 || !(timeout > 0) || !(sliders >= 0)) {
    stop(2, 'usage: lab.mjs NOTEBOOK.ipynb... [--screenshots DIRECTORY] [--timeout SECONDS] [--sliders N]')
  }
  const notebooks = positionals.map(path => resolve(path))
  for (const notebook of notebooks) {
    if (!existsSync(notebook) || !statSync(notebook).isFile()) stop(2, `${notebook}: no such file`)
    if (dirname(notebook) !== dirname(notebooks[0])) stop(2, `${notebook}: not in the directory of the first notebook`)
  }
  const screenshots = values.screenshots && resolve(values.screenshots)
  if (screenshots) mkdirSync(screenshots, { recursive: true })
  return { notebooks, screenshots, sliders, timeout }
}

// startLab starts JupyterLab on a free port, with settings of its own, and waits until it answers.
async function startLab (folder, temporary) {
  const python = join(root, '.venv/bin/python')
  if (!existsSync(python)) throw new Error("no JupyterLab in .venv: run 'make lab' or 'dhkd setup --jupyter'")
  const port = await freePort()
  // Nothing is saved, so that the committed notebook stays as it is; all cells are drawn, so that all can be looked at.
  setting(temporary, 'docmanager-extension/plugin', { autosave: false })
  setting(temporary, 'notebook-extension/tracker', { windowingMode: 'none' })
  const server = spawn(python, ['-m', 'jupyterlab', '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1',
    `--ServerApp.port=${port}`, '--ServerApp.port_retries=0', '--IdentityProvider.token=',
    '--LabApp.extension_manager=readonly', '--LabApp.expose_app_in_browser=True',
    `--ServerApp.root_dir=${folder}`], {
    env: {
      DHKD_NOTEBOOK_CACHE: 'off',
      ...process.env,
      DHKD_FIGURES: join(temporary, 'figures'),
      JUPYTER_PATH: [join(root, 'notebooks/kernel'), process.env.JUPYTER_PATH].filter(Boolean).join(delimiter),
      JUPYTER_CONFIG_DIR: join(temporary, 'config'),
      JUPYTER_RUNTIME_DIR: join(temporary, 'runtime'),
      JUPYTERLAB_SETTINGS_DIR: join(temporary, 'settings'),
      JUPYTERLAB_WORKSPACES_DIR: join(temporary, 'workspaces')
    },
    stdio: ['ignore', 'ignore', 'pipe']
  })
  let log = ''
  server.stderr.on('data', data => { log = (log + data).slice(-4000) })
  const ended = new Promise(resolve => server.once('exit', resolve).once('error', resolve))
  const url = `http://127.0.0.1:${port}`
  const running = () => server.exitCode === null && server.signalCode === null
  const stopServer = async () => {
    if (running()) server.kill('SIGTERM')
    const impatient = setTimeout(() => server.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(impatient)
  }
  for (let tries = 0; tries < 300 && running(); tries++) {
    if (await fetch(`${url}/api/status`).then(answer => answer.ok, () => false)) return { url, stop: stopServer }
    await sleep(200)
  }
  await stopServer()
  throw new Error(`JupyterLab did not start: ${log.trim().split('\n').pop()}`)
}

function setting (temporary, plugin, value) {
  const file = join(temporary, 'settings/@jupyterlab', `${plugin}.jupyterlab-settings`)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, JSON.stringify(value))
}

function freePort () {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

// endKernels gives back what the notebook's kernel holds.
async function endKernels (url) {
  for (const session of await fetch(`${url}/api/sessions`).then(answer => answer.json())) {
    await fetch(`${url}/api/sessions/${session.id}`, { method: 'DELETE' })
  }
}

function findBrowser () {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
  const folders = (process.env.PATH ?? '').split(delimiter)
  const apps = ['Chromium', 'Google Chrome'].map(app => `/Applications/${app}.app/Contents/MacOS/${app}`)
  const known = [process.env.CHROMIUM, ...names.flatMap(name => folders.map(folder => join(folder, name))), ...apps]
  const found = known.find(path => path && isProgram(path))
  if (!found) throw new Error('no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path')
  return found
}

function isProgram (path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

// runAll clears the notebook's committed outputs, clicks Run All, moves what sliders come, and waits for the last cell. It
// returns the number of sliders that a picture followed, of the last of which file becomes a screenshot.
async function runAll (page, url, name, timeout, file) {
  await page.goto(`${url}/lab/tree/${encodeURIComponent(name)}?reset`)
  await page.locator('.jp-Notebook .jp-CodeCell').first().waitFor({ timeout: 60_000 })
  // A click on Run All before the kernel is there runs nothing, and says nothing.
  await until('the kernel to start', 60_000, async () => {
    const kernels = await fetch(`${url}/api/kernels`).then(answer => answer.json())
    return kernels.some(kernel => kernel.execution_state === 'idle' && kernel.connections > 0)
  })
  await menu(page, 'Edit', 'Clear Outputs of All Cells')
  await menu(page, 'Run', 'Run All Cells')
  const prompts = page.locator('.jp-Notebook .jp-CodeCell .jp-InputPrompt')
  const idle = page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
  const moved = new Set()
  await until('the cells to run', timeout, async () => {
    await moveSliders(page, moved, file)
    const texts = await prompts.allTextContents()
    const failed = (await outputs(page)).flat().some(output => output.output_type === 'error')
    const over = failed ? !texts.some(text => text.includes('*')) : texts.every(text => /^\[\d+\]:/.test(text))
    return over && await idle.count() > 0
  })
  await sleep(500) // the last pictures
  return moved.size
}

// moveSliders moves each slider that is there to another place, and waits for its cell's picture to change. A cell with
// sliders runs for as long as somebody moves them.
async function moveSliders (page, moved, file) {
  const picture = id => page.evaluate(id => document.getElementById(id)?.closest('.jp-Cell')
    .querySelector('.nb-picture')?.innerHTML, id)
  const sliders = page.locator('.jp-Notebook .jp-OutputArea input[type=range]')
  for (const id of await sliders.evaluateAll(all => all.map(slider => slider.id))) {
    const before = await picture(id)
    if (moved.has(id) || !before) continue
    await page.evaluate(id => {
      const slider = document.getElementById(id)
      slider.value = Math.round(slider.max * 0.8)
      slider.dispatchEvent(new Event('input'))
    }, id)
    await until('a picture to follow its slider', 10_000, async () => await picture(id) !== before)
    moved.add(id)
    if (!file) continue
    await page.evaluate(id => document.getElementById(id).scrollIntoView({ block: 'center' }), id)
    await page.screenshot({ path: file })
  }
}

async function menu (page, title, entry) {
  await page.locator('.lm-MenuBar-item', { hasText: new RegExp(`^${title}$`) }).click()
  await page.locator('.lm-Menu-itemLabel', { hasText: new RegExp(`^${entry}$`) }).click()
}

// outputs gives each code cell's outputs, as they would be saved. (In the page itself an error is text like any other.)
function outputs (page) {
  return page.evaluate(() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === 'code').map(cell => cell.model.outputs.toJSON()))
}

// inspect lists what a reader would see to be wrong.
async function inspect (page) {
  const problems = []
  const cells = await outputs(page)
  const prompts = await page.locator('.jp-Notebook .jp-CodeCell .jp-InputPrompt').allTextContents()
  cells.forEach((cell, i) => {
    if (!/^\[\d+\]:/.test(prompts[i])) problems.push(`code cell ${i + 1} did not run`)
    for (const output of cell) {
      if (output.output_type === 'error') problems.push(`code cell ${i + 1} failed: ${output.evalue.trim()}`)
      else if (/^exit status \d+$/m.test([output.text ?? ''].flat().join(''))) {
        problems.push(`code cell ${i + 1}: a command failed`)
      }
    }
  })
  const images = page.locator('.jp-Notebook .jp-OutputArea img')
  const widths = await images.evaluateAll(all => all.map(img => img.naturalWidth))
  const hidden = widths.filter(width => width === 0).length
  if (hidden > 0) problems.push(`${hidden} pictures do not show`)
  return { cells: cells.length, pictures: widths.length, problems }
}

// photograph makes the window as tall as the notebook first.
async function photograph (page, file) {
  const height = await page.evaluate(() => {
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map(cell => cell.getBoundingClientRect())
    return Math.max(...cells.map(cell => cell.bottom)) - Math.min(...cells.map(cell => cell.top))
  })
  const window = Math.ceil(Math.min(Math.max(height + 200, 600), 16_000))
  await page.setViewportSize({ width: 1400, height: window })
  const scroller = page.locator('.jp-WindowedPanel-outer').first()
  await until('the window to grow', 30_000, () => scroller.evaluate((outer, window) => {
    outer.scrollTop = 0
    return outer.clientHeight > window - 300
  }, window))
  await sleep(1000) // it is drawn
  await page.screenshot({ path: file })
}

async function until (what, timeout, done) {
  const end = Date.now() + timeout
  while (!await done()) {
    if (Date.now() > end) throw new Error(`waited ${timeout / 1000} s in vain for ${what}`)
    await sleep(250)
  }
}

function sleep (ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

process.exit(await main())
