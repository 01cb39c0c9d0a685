        // Asks the flow for this page's view. It answers when something has changed since the view we have.
        ask(anew) {
            const seen = anew ? undefined : this.msg?.payload?.version
            if (anew || !document.hidden) this.send({ payload: { ...this.wish(), seen } })
        },
        begin() {
            this.ask(true)
            this.timer = setInterval(() => { this.now = Date.now(); this.ask() }, 2000)
        },
        duration(seconds) {
            if (!Number.isFinite(seconds)) return ''
            const units = [[86400, 'd'], [3600, 'h'], [60, 'min']]
            const unit = units.find(([length]) => seconds >= length)
            return unit ? Math.floor(seconds / unit[0]) + ' ' + unit[1] : Math.max(0, Math.round(seconds)) + ' s'
        },
        ago(time) {
            return time ? this.duration((this.now - time) / 1000) + ' ago' : ''
        },
        when(time) {
            return time ? new Date(time).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' }) : ''
        },
        volume(mm3) {
            return Number.isFinite(mm3) ? Math.round(mm3).toLocaleString() + ' mm³' : ''
        },
        plain(code) {
            return (code || '').replaceAll('_', ' ')
        },
        open(key) {
            this.$router.push({ path: '/box', query: { box: key } })
        },
