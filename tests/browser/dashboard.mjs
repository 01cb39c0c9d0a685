// Reads modicd's Node-RED dashboard in Chromium.
//
//   node dashboard.mjs URL read               prints what the pages say, as JSON
//   node dashboard.mjs URL acknowledge ID     presses an alarm's button, prints the alarms
//   node dashboard.mjs URL pictures FOLDER    a picture of each page in light, dark and narrow; prints what axe finds
import axe from 'axe-core'
import { chromium } from 'playwright-core'

const [url, command, argument] = process.argv.slice(2)
const PAGES = ['fleet', 'box', 'findings', 'alarms']
const LIMIT = 20_000

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox']
})
const foreign = []
const problems = []

async function open (name, options = {}) {
    const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options })).newPage()
    page.setDefaultTimeout(LIMIT)
    page.on('request', (request) => {
        if (!request.url().startsWith(new URL(url).origin) && !request.url().startsWith('data:')) foreign.push(request.url())
    })
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()) })
    await page.goto(`${url}/${name}`)
    // A page is there when its view has come: with rows, or with a sentence that says why there are none.
    await page.locator('.modicd tbody tr, .modicd .empty').first().waitFor()
    return page
}

const texts = (page, rows, key, cells) => page.locator(rows).evaluateAll((elements, [key, cells]) =>
    elements.map((row) => Object.fromEntries([
        [key, row.dataset[key]],
        ...cells.map((cell) => [cell, row.querySelector(`[data-cell=${cell}]`)?.textContent.replace(/\s+/g, ' ').trim()])
    ])), [key, cells])

const readAlarms = (page) => page.locator('[data-alarm]').evaluateAll((rows) =>
    rows.map((row) => ({ alarm: row.dataset.alarm, acknowledged: !row.querySelector('button') })))

async function read () {
    const fleet = await open('fleet')
    const findings = await open('findings')
    return {
        notice: await fleet.locator('.modicd-notice').textContent(),
        boxes: await texts(fleet, '[data-box]', 'box', ['availability', 'status', 'result']),
        unreadable: parseInt(await fleet.locator('[data-cell=unreadable]').textContent({ timeout: 100 }).catch(() => '0')),
        studies: await findings.locator('[data-cell=studies]').textContent(),
        findings: await texts(findings, '[data-study]', 'study', ['endplate', 'type', 'volume']),
        matrix: await findings.locator('[data-endplate]').evaluateAll((rows) => rows.flatMap((row) =>
            [...row.querySelectorAll('[data-type]')].filter((cell) => parseInt(cell.textContent))
                .map((cell) => [row.dataset.endplate, cell.dataset.type, parseInt(cell.textContent)]))),
        alarms: await readAlarms(await open('alarms')),
        foreign,
        problems
    }
}

async function acknowledge () {
    const page = await open('alarms')
    const row = page.locator(`[data-alarm="${argument}"]`)
    await row.getByRole('button').click()
    await row.getByRole('button').waitFor({ state: 'detached' })
    return readAlarms(page)
}

async function pictures () {
    const serious = []
    const looks = {
        light: {}, dark: { colorScheme: 'dark' }, narrow: { viewport: { width: 390, height: 844 } }
    }
    for (const [look, options] of Object.entries(looks)) {
        for (const name of PAGES) {
            const page = await open(name, options)
            await page.screenshot({ path: `${argument}/${name}-${look}.png`, fullPage: true })
            await page.evaluate(axe.source)
            const { violations } = await page.evaluate(() => window.axe.run())
            for (const { id, impact, nodes } of violations.filter((v) => ['serious', 'critical'].includes(v.impact))) {
                for (const node of nodes) {
                    // What lies inside our widgets is ours; the frame around them is FlowFuse's.
                    const ours = await page.locator(node.target.join(' ')).first()
                        .evaluate((e) => !!e.closest('.modicd, .modicd-notice')).catch(() => false)
                    serious.push({ page: name, look, id, impact, ours, target: node.target.join(' ') })
                }
            }
            const wider = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth)
            if (wider) problems.push(`${name} is wider than the window, ${look}`)
            await page.context().close()
        }
    }
    return { serious, problems }
}

console.log(JSON.stringify(await { read, acknowledge, pictures }[command]()))
await browser.close()
